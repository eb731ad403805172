"""Faults of files: signed URLs to other hosts, hostile names, wrong bytes and wrong ranges."""

from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Exchange, Reply
from up42_async.sandbox._fault_kinds_wire import past_http
from up42_async.sandbox._signing import BUCKET, header_value

_PART = 206

FILES = f"/{BUCKET}/"
"""The path of all files, for `faults.add`."""

SIGNING = r"/v2/assets/[^/]+/download-url$"
"""The paths of requests for signed URLs, for `faults.add`."""

HOSTILE_NAMES: Mapping[str, str] = {
    "parent": 'attachment; filename="../../outside.tif"',
    "absolute": 'attachment; filename="/etc/cron.d/outside.tif"',
    "drive": 'attachment; filename="C:\\\\outside.tif"',
    "backslash": 'attachment; filename="..\\\\..\\\\outside.tif"',
    "encoded": 'attachment; filename="..%2F..%2Foutside.tif"',
    "rfc5987": "attachment; filename*=UTF-8''..%2F..%2Foutside.tif",
    "rfc5987-wins": "attachment; filename=\"image.tif\"; filename*=UTF-8''%2Fetc%2Fpasswd",
    "nul": 'attachment; filename="out\0side.tif"',
    "newline": 'attachment; filename="out\r\nside: yes.tif"',
    "empty": 'attachment; filename=""',
    "dot": 'attachment; filename="."',
    "dots": 'attachment; filename=".."',
    "long": f'attachment; filename="{"x" * 3000}.tif"',
    "full-width": 'attachment; filename="\uff0e\uff0e\uff0foutside.tif"',
    "right-to-left": 'attachment; filename="out\u202efit.exe"',
    "device": 'attachment; filename="NUL.tif"',
    "stream": 'attachment; filename="image.tif:hidden"',
    "unquoted": "attachment; filename=../outside of it.tif",
}
"""Content-Dispositions for `FileName`, by what is wrong with the name."""

HOSTILE_ORIGINS: Mapping[str, str] = {
    "private": "http://10.0.0.1",
    "link-local": "http://169.254.169.254",
    "number": "http://2852039166",
    "mapped": "http://[::ffff:169.254.169.254]",
    "plain": "http://storage.googleapis.com",
    "userinfo": "http://user:password@{host}",
    "userinfo-elsewhere": "http://{host}@storage.invalid",
    "look-alike": "http://{host}.storage.invalid",
    "backslash": "http://storage.invalid\\@{host}",
    "no-scheme": "//{host}",
    "file": "file://{host}",
}
"""Origins for `SignedUrlAt`, by what is wrong with them."""


@attrs.frozen
class ExpireSignedUrls:
    """Make all signed URLs expire when the request arrives, so that it and later ones are refused."""

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Make them expire, and act."""
        with exchange.world.lock:
            exchange.world.signed_urls.revoke_all()
        return await act()


@attrs.frozen
class SignedUrlAt:
    """Change the origin of signed URLs.

    Args:
        origin: The part before the path; `{host}` in it stands for the host and port of the files. `HOSTILE_ORIGINS`
            has examples.
    """

    origin: str = attrs.field(validator=checks.text)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and change the URL."""
        files_url = exchange.world.files_url
        origin = self.origin.replace("{host}", urlsplit(files_url).netloc)
        return (await act()).rewritten(_signed_only(lambda url: origin + url.removeprefix(files_url)))


@attrs.frozen
class FileName:
    """Give files another name. Use it with `path=""`: it changes both signed URLs and the answers of files.

    Args:
        disposition: The Content-Disposition. `HOSTILE_NAMES` has examples.
        where: `"url"` for the signed URL, and with it the header of the file's answer, or `"header"` for that header
            only. Control characters, which headers cannot hold, become `_` in the header.
    """

    disposition: str = attrs.field(validator=checks.text)
    where: Literal["url", "header"] = attrs.field(default="url", validator=checks.one_of("url", "header"))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and change the name."""
        reply = await act()
        if reply.is_file and self.where == "header":
            return reply.with_header(b"content-disposition", header_value(self.disposition))
        return reply.rewritten(_signed_only(lambda url: self._signed_anew(exchange, url)))

    def _signed_anew(self, exchange: Exchange, url: str) -> str:
        world = exchange.world
        file_id = urlsplit(url).path.rpartition("/")[2]
        with world.lock:
            return world.signed_urls.url(world.files_url, file_id, self.disposition if self.where == "url" else None)


@attrs.frozen
class AssetFields:
    """Change fields of the assets of STAC items.

    Args:
        changes: New values by field, such as a wrong `file:checksum` or `file:size`; None removes a field.
    """

    changes: Mapping[str, Any] = attrs.field(validator=checks.mapping)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and change the fields of all assets in the answer."""
        return (await act()).rewritten(self._change)

    def _change(self, body: Any) -> Any:
        for item in body.get("features", [body]):
            for asset in item.get("assets", {}).values():
                for name, value in self.changes.items():
                    asset[name] = value
                    if value is None:
                        del asset[name]
        return body


@attrs.frozen
class Corrupt:
    """Send a file with one wrong byte.

    Args:
        at: The offset of the byte in the answer's body; None for the middle.
    """

    at: int | None = attrs.field(default=None, validator=checks.optional(checks.whole(0)))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and change the byte."""
        reply = await act()
        body = bytearray(reply.body)
        body[len(body) // 2 if self.at is None else self.at] ^= 0xFF
        return attrs.evolve(reply, body=bytes(body))


@attrs.frozen
class WrongLength:
    """Send another number of bytes.

    Args:
        by: Bytes more; fewer if negative.
        announced: Whether Content-Length has the changed length, as for another file, or the right one.
    """

    by: int = attrs.field(validator=checks.of_type(int, words="a whole number of bytes"))
    announced: bool = attrs.field(default=True, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and change the length of the body."""
        reply = await act()
        body = reply.body + b"\0" * self.by if self.by > 0 else reply.body[: self.by]
        return reply.with_body(body) if self.announced else attrs.evolve(reply, body=body, delivery=past_http)


@attrs.define
class ChangeEtag:
    """Send another ETag in every answer, as for another version of the file.

    Args:
        heeds_if_range: Send the whole file when a range of another version is requested, as storage should; otherwise
            send the range.
    """

    heeds_if_range: bool = attrs.field(default=True, validator=checks.flag)
    _version: int = attrs.field(default=0, init=False)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and change the ETag."""
        self._version += 1
        if not self.heeds_if_range:
            exchange.set_header(b"if-range", None)
        return (await act()).with_header(b"etag", b'"version-%d"' % self._version)


@attrs.frozen
class IgnoreRange:
    """Send the whole file, whatever range is requested."""

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act on the request without its Range header."""
        exchange.set_header(b"range", None)
        return await act()


@attrs.frozen
class WrongRange:
    """Send another range of the file than the requested one.

    Args:
        by: Bytes by which it begins later; earlier if negative.
        admitted: Whether Content-Range has the range that is sent, or the requested one.
    """

    by: int = attrs.field(default=1, validator=checks.of_type(int, words="a whole number of bytes"))
    admitted: bool = attrs.field(default=True, kw_only=True, validator=checks.flag)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and answer with the other range; a request without a range passes."""
        asked = (exchange.header(b"range") or b"").decode("latin-1")
        start, _, stop = asked.removeprefix("bytes=").partition("-")
        if not start.isdecimal():
            return await act()
        exchange.set_header(b"range", f"bytes={max(int(start) + self.by, 0)}-{stop}".encode())
        reply = await act()
        if self.admitted or reply.status != _PART:
            return reply
        end = (reply.header(b"content-range") or b"").partition(b"-")[2]
        return reply.with_header(b"content-range", b"bytes %b-%b" % (start.encode(), end))


def _signed_only(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return the change for answers that are signed URLs; others stay as they are."""
    return lambda body: {**body, "url": change(body["url"])} if body.keys() == {"url"} else body
