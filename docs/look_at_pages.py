"""Look at every page of the built site in headless Chromium, as a wide and as a narrow screen shows it.

    python docs/look_at_pages.py SITE [--pictures DIRECTORY]

A page fails when it is wider than the screen, misses a picture or its heading, has a link that leads nowhere, or writes
errors to the console. Where Chromium or its driver is not installed, it says so and checks nothing.
"""

import argparse
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

WIDTHS: Final = (1280, 390)
HEIGHT: Final = 900
MADE_BY_SPHINX: Final = {"genindex.html", "search.html", "py-modindex.html"}
LOOK: Final = """
const wide = document.documentElement.scrollWidth;
const broken = [...document.images].filter(one => !one.complete || one.naturalWidth === 0).map(one => one.src);
const links = [...document.querySelectorAll("a[href]")].map(one => one.href)
    .filter(one => one.startsWith(location.origin));
return {wide, broken, links, height: document.documentElement.scrollHeight,
    headings: document.querySelectorAll("h1").length,
    anchors: [...document.querySelectorAll("[id]")].map(one => one.id)};
"""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on this machine, and give its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class has
            """Leave the requests out of the output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browser(chromium: str, driver: str) -> Iterator[Any]:
    """Start Chromium without a window, and give its driver."""
    from selenium import webdriver  # noqa: PLC0415 - not needed where there is no Chromium

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    try:
        yield opened
    finally:
        opened.quit()


def look(opened: Any, address: str, width: int, picture: Path | None) -> dict[str, Any]:
    """Open a page at a width, and return what is there; save it as a picture if that is wanted."""
    screen = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < HEIGHT}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    opened.get(address)
    seen: dict[str, Any] = opened.execute_script(LOOK)
    seen["console"] = [
        entry["message"]
        for entry in opened.get_log("browser")
        if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
    ]
    if picture is not None:
        screen["height"] = min(int(seen["height"]), 12_000)
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        picture.parent.mkdir(parents=True, exist_ok=True)
        opened.save_screenshot(str(picture))
    return seen


def troubles(seen: dict[str, Any], width: int) -> Iterator[str]:
    """Say what is wrong with a page by itself."""
    if seen["wide"] > width:
        yield f"is {seen['wide']} px wide on a screen of {width} px"
    if seen["headings"] != 1:
        yield f"has {seen['headings']} first headings"
    yield from (f"misses the picture {source}" for source in seen["broken"])
    yield from (f"writes to the console: {message}" for message in seen["console"])


def dead_links(pages: dict[str, dict[str, Any]], base: str, site: Path) -> Iterator[str]:
    """Say which links lead to no page of the site, or to no place on it."""
    for page, seen in pages.items():
        for link in sorted(set(seen["links"])):
            path, _, anchor = link.removeprefix(f"{base}/").partition("#")
            path = path.partition("?")[0] or "index.html"
            if not (site / path).is_file():
                yield f"{page} links to {path}, which is not there"
            elif anchor and path in pages and anchor not in pages[path]["anchors"]:
                yield f"{page} links to {path}#{anchor}, which is not there"


def main() -> None:
    """Look at all pages; the exit code is 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path, help="where to save each page as a picture, at both widths")
    given = parser.parse_args()
    chromium, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        print("Chromium and its driver are not installed (Debian: chromium, chromium-driver): no page was looked at.")
        return
    found: list[str] = []
    pages: dict[str, dict[str, Any]] = {}
    names = sorted(str(page.relative_to(given.site)) for page in given.site.rglob("*.html"))
    names = [name for name in names if not name.startswith("_") and name not in MADE_BY_SPHINX]
    with served(given.site) as base, browser(chromium, driver) as opened:
        for name in names:
            for width in WIDTHS:
                picture = given.pictures and given.pictures / str(width) / Path(name).with_suffix(".png")
                pages[name] = look(opened, f"{base}/{name}", width, picture)
                found += [f"{name} at {width} px {trouble}" for trouble in troubles(pages[name], width)]
        found += dead_links(pages, base, given.site)
    print(f"{len(names)} pages looked at, at {' and '.join(map(str, WIDTHS))} px.")
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
