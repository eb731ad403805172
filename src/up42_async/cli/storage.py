"""`up42 assets items` and `up42 items search`."""

import json
from typing import Annotated, Any, Final

import typer

import up42_async as up42
from up42_async.cli.jobs import OutputOption
from up42_async.cli.output import Format, write, write_all
from up42_async.cli.running import GOOD, run
from up42_async.cli.settings import Settings

assets: Final = typer.Typer(help="Assets in your storage.", no_args_is_help=True)
items: Final = typer.Typer(help="STAC items in your storage.", no_args_is_help=True)

COLUMNS: Final = ("id", "collection", "datetime", "title", "href")


def row_of(item: Any) -> dict[str, Any]:
    """Return an item as GeoJSON, with what a table shows of it at hand."""
    content: dict[str, Any] = item.to_dict(include_self_link=True, transform_hrefs=False)
    properties = content.get("properties", {})
    title = properties.get("up42-user:title") or properties.get("title")
    return {**content, "datetime": properties.get("datetime"), "title": title, "href": item.get_self_href()}


@assets.command("items")
def items_of(
    context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset id.")],
    output: OutputOption = Format.TABLE,
) -> None:
    """List the STAC items of an asset."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        found = await (await up42.initialize_asset(asset, client=client)).stac_items()
        write([row_of(item) for item in found], output, columns=COLUMNS)
        return GOOD

    run(settings, work)


@items.command("search")
def search(
    context: typer.Context,
    collection: Annotated[list[str] | None, typer.Option(help="Only these collections.")] = None,
    id_: Annotated[list[str] | None, typer.Option("--id", help="Only these item ids.")] = None,
    bbox: Annotated[str | None, typer.Option(help="West,south,east,north in degrees.")] = None,
    datetime: Annotated[str | None, typer.Option(help="A moment, or start/end, as STAC has it.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="CQL2-JSON.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at the most.")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Search the STAC items in your storage; one request for every 100."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        found = up42.search_items(
            collections=collection,
            ids=id_,
            bbox=None if bbox is None else [float(number) for number in bbox.split(",")],
            datetime=datetime,
            filter=None if filter_ is None else json.loads(filter_),
            max_items=limit,
            client=client,
        )
        await write_all(found, output, row=row_of, columns=COLUMNS)
        return GOOD

    run(settings, work)
