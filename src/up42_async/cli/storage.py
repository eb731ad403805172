"""`up42 assets items` and `up42 items search`."""

import json
from typing import Annotated, Any, Final

import typer

import up42_async as up42
from up42_async.cli.jobs import OutputOption
from up42_async.cli.output import Format, write, write_all
from up42_async.cli.running import GOOD, reporting, run, say
from up42_async.cli.settings import Settings

assets: Final = typer.Typer(help="List the STAC items of an asset.", no_args_is_help=True)
items: Final = typer.Typer(help="Search the STAC items in your storage.", no_args_is_help=True)

COLUMNS: Final = ("id", "collection", "datetime", "title", "href")


def row_of(item: Any) -> dict[str, Any]:
    """Return an item as GeoJSON, with the columns of a table added."""
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
    """List the STAC items of an asset; 2 requests."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        found = await (await up42.initialize_asset(asset, client=client)).stac_items()
        write([row_of(item) for item in found], output, columns=COLUMNS)
        return GOOD

    run(settings, work)


@items.command("search")
def search(
    context: typer.Context,
    collection: Annotated[
        list[str] | None, typer.Option(help="Only items of this collection id; repeat it for several.")
    ] = None,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="Only the item with this id; repeat it for several.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(help="Only items in this box: west,south,east,north in degrees.")] = None,
    datetime: Annotated[
        str | None,
        typer.Option(
            help="Only items of this time, or start/end, either of which may be `..`: 2026-01-31T00:00:00Z/.."
        ),
    ] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="Only items that match this CQL2-JSON.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many items; all by default.")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Search the STAC items in your storage, the newest first; one request for every 100."""
    settings: Settings = context.obj
    with reporting():
        box, expression = _box_of(bbox), _filter_of(filter_)

    async def work(client: up42.Client) -> int:
        found = up42.search_items(
            collections=collection,
            ids=id_,
            bbox=box,
            datetime=datetime,
            filter=expression,
            max_items=limit,
            client=client,
        )
        if not await write_all(found, output, row=row_of, columns=COLUMNS):
            say("up42: no items match", settings)
        return GOOD

    run(settings, work)


def _box_of(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"--bbox must be west,south,east,north in degrees, not {text!r}") from None


def _filter_of(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ValueError(f"--filter must be CQL2-JSON; {text!r:.80} is not JSON: {error}") from None
