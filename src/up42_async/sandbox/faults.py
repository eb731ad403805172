"""What can go wrong, to be given to `sandbox.faults.add` and `sandbox.faults.during`.

Connection: `LoseAnswer`, `DropConnection`, `Hang`, `Delay`, `Drip`, `Truncate`, `RawAnswer`, `Endless`.
Server: `Status`, `Redirect`, `Rewrite`, `DeepJson`, `LargeHeaders`, `GzipBomb`.
Platform: `UnknownStatus`, `OmitJobs`, `OmitKeys`, `NextLink`, `EmptyPages`, `ShiftPages`, `ExpireTokens`.
One of your own is any object with `async def apply(self, exchange: Exchange, act: Act, /) -> Reply`, see `Kind`.

Where no server stands between (the application called through `httpx.ASGITransport`), a connection cannot break: faults
that break one raise `ConnectionLost` in the caller instead.
"""

from up42_async.sandbox._exchange import Act as Act
from up42_async.sandbox._exchange import ConnectionLost as ConnectionLost
from up42_async.sandbox._exchange import Exchange as Exchange
from up42_async.sandbox._exchange import Reply as Reply
from up42_async.sandbox._fault_kinds_answers import DeepJson as DeepJson
from up42_async.sandbox._fault_kinds_answers import GzipBomb as GzipBomb
from up42_async.sandbox._fault_kinds_answers import LargeHeaders as LargeHeaders
from up42_async.sandbox._fault_kinds_answers import Redirect as Redirect
from up42_async.sandbox._fault_kinds_answers import Rewrite as Rewrite
from up42_async.sandbox._fault_kinds_answers import Status as Status
from up42_async.sandbox._fault_kinds_platform import EmptyPages as EmptyPages
from up42_async.sandbox._fault_kinds_platform import ExpireTokens as ExpireTokens
from up42_async.sandbox._fault_kinds_platform import NextLink as NextLink
from up42_async.sandbox._fault_kinds_platform import OmitJobs as OmitJobs
from up42_async.sandbox._fault_kinds_platform import OmitKeys as OmitKeys
from up42_async.sandbox._fault_kinds_platform import ShiftPages as ShiftPages
from up42_async.sandbox._fault_kinds_platform import UnknownStatus as UnknownStatus
from up42_async.sandbox._fault_kinds_wire import Delay as Delay
from up42_async.sandbox._fault_kinds_wire import Drip as Drip
from up42_async.sandbox._fault_kinds_wire import DropConnection as DropConnection
from up42_async.sandbox._fault_kinds_wire import Endless as Endless
from up42_async.sandbox._fault_kinds_wire import Hang as Hang
from up42_async.sandbox._fault_kinds_wire import Kind as Kind
from up42_async.sandbox._fault_kinds_wire import LoseAnswer as LoseAnswer
from up42_async.sandbox._fault_kinds_wire import RawAnswer as RawAnswer
from up42_async.sandbox._fault_kinds_wire import Truncate as Truncate
