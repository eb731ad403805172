"""The kinds of faults, for `sandbox.faults.add` and `sandbox.faults.during`.

Connection: `LoseAnswer`, `DropConnection`, `Hang`, `Delay`, `Drip`, `SlowBody`, `Truncate`, `Stall`, `RawAnswer`,
`Endless`.
Server: `Status`, `GatewayPage`, `ExecutedAnyway`, `EchoHeaders`, `Redirect`, `Rewrite`, `ChangeHeaders`, `DeepJson`,
`LargeHeaders`, `GzipBomb`, `ManyEntries`.
Platform: `UnknownStatus`, `OmitJobs`, `OmitKeys`, `NextLink`, `EmptyPages`, `ShiftPages`, `ExpireTokens`, `OtherJob`,
`ShiftTimes`, `RaisePrice`, `ChangeJobs` (`ODD_JOBS`), `ChangeItems` (`ODD_ITEMS`), both with `REMOVED`, `AddEntries`.
Files: `ExpireSignedUrls`, `SignedUrlAt` (`HOSTILE_ORIGINS`), `FileName` (`HOSTILE_NAMES`), `AssetFields`, `Corrupt`,
`WrongLength`, `ChangeEtag`, `IgnoreRange`, `WrongRange`, `StoredEncoding`, `RedirectFile`.
Around another fault: `Waves` (on and off), `LaterPages` (from the second page of a list on).
Paths: `LOGIN`, `SIGNING` (requests for signed URLs), `FILES`.
A kind of your own is any object with `async def apply(self, exchange: Exchange, act: Act, /) -> Reply`, see `Kind`.

Without a server (the application called through `httpx.ASGITransport`) a connection cannot break: faults that break one
raise `ConnectionLost` in the caller instead.

A fault that lets the sandbox do its work holds the whole answer in memory; only `Truncate` with `keep`, and `Stall`,
hold no more of a large file than they send.
"""

from up42_async.sandbox._exchange import Act as Act
from up42_async.sandbox._exchange import ConnectionLost as ConnectionLost
from up42_async.sandbox._exchange import Exchange as Exchange
from up42_async.sandbox._exchange import Reply as Reply
from up42_async.sandbox._fault_kinds_answers import ChangeHeaders as ChangeHeaders
from up42_async.sandbox._fault_kinds_answers import DeepJson as DeepJson
from up42_async.sandbox._fault_kinds_answers import GzipBomb as GzipBomb
from up42_async.sandbox._fault_kinds_answers import LargeHeaders as LargeHeaders
from up42_async.sandbox._fault_kinds_answers import Redirect as Redirect
from up42_async.sandbox._fault_kinds_answers import Rewrite as Rewrite
from up42_async.sandbox._fault_kinds_answers import Status as Status
from up42_async.sandbox._fault_kinds_entries import ODD_ITEMS as ODD_ITEMS
from up42_async.sandbox._fault_kinds_entries import ODD_JOBS as ODD_JOBS
from up42_async.sandbox._fault_kinds_entries import REMOVED as REMOVED
from up42_async.sandbox._fault_kinds_entries import AddEntries as AddEntries
from up42_async.sandbox._fault_kinds_entries import ChangeItems as ChangeItems
from up42_async.sandbox._fault_kinds_entries import ChangeJobs as ChangeJobs
from up42_async.sandbox._fault_kinds_entries import ManyEntries as ManyEntries
from up42_async.sandbox._fault_kinds_entries import OtherJob as OtherJob
from up42_async.sandbox._fault_kinds_entries import RaisePrice as RaisePrice
from up42_async.sandbox._fault_kinds_entries import ShiftTimes as ShiftTimes
from up42_async.sandbox._fault_kinds_files import FILES as FILES
from up42_async.sandbox._fault_kinds_files import HOSTILE_NAMES as HOSTILE_NAMES
from up42_async.sandbox._fault_kinds_files import HOSTILE_ORIGINS as HOSTILE_ORIGINS
from up42_async.sandbox._fault_kinds_files import SIGNING as SIGNING
from up42_async.sandbox._fault_kinds_files import AssetFields as AssetFields
from up42_async.sandbox._fault_kinds_files import ChangeEtag as ChangeEtag
from up42_async.sandbox._fault_kinds_files import Corrupt as Corrupt
from up42_async.sandbox._fault_kinds_files import ExpireSignedUrls as ExpireSignedUrls
from up42_async.sandbox._fault_kinds_files import FileName as FileName
from up42_async.sandbox._fault_kinds_files import IgnoreRange as IgnoreRange
from up42_async.sandbox._fault_kinds_files import SignedUrlAt as SignedUrlAt
from up42_async.sandbox._fault_kinds_files import WrongLength as WrongLength
from up42_async.sandbox._fault_kinds_files import WrongRange as WrongRange
from up42_async.sandbox._fault_kinds_gateways import LOGIN as LOGIN
from up42_async.sandbox._fault_kinds_gateways import EchoHeaders as EchoHeaders
from up42_async.sandbox._fault_kinds_gateways import ExecutedAnyway as ExecutedAnyway
from up42_async.sandbox._fault_kinds_gateways import GatewayPage as GatewayPage
from up42_async.sandbox._fault_kinds_gateways import LaterPages as LaterPages
from up42_async.sandbox._fault_kinds_gateways import Waves as Waves
from up42_async.sandbox._fault_kinds_platform import EmptyPages as EmptyPages
from up42_async.sandbox._fault_kinds_platform import ExpireTokens as ExpireTokens
from up42_async.sandbox._fault_kinds_platform import NextLink as NextLink
from up42_async.sandbox._fault_kinds_platform import OmitJobs as OmitJobs
from up42_async.sandbox._fault_kinds_platform import OmitKeys as OmitKeys
from up42_async.sandbox._fault_kinds_platform import ShiftPages as ShiftPages
from up42_async.sandbox._fault_kinds_platform import UnknownStatus as UnknownStatus
from up42_async.sandbox._fault_kinds_storage import RedirectFile as RedirectFile
from up42_async.sandbox._fault_kinds_storage import SlowBody as SlowBody
from up42_async.sandbox._fault_kinds_storage import StoredEncoding as StoredEncoding
from up42_async.sandbox._fault_kinds_wire import Delay as Delay
from up42_async.sandbox._fault_kinds_wire import Drip as Drip
from up42_async.sandbox._fault_kinds_wire import DropConnection as DropConnection
from up42_async.sandbox._fault_kinds_wire import Endless as Endless
from up42_async.sandbox._fault_kinds_wire import Hang as Hang
from up42_async.sandbox._fault_kinds_wire import Kind as Kind
from up42_async.sandbox._fault_kinds_wire import LoseAnswer as LoseAnswer
from up42_async.sandbox._fault_kinds_wire import RawAnswer as RawAnswer
from up42_async.sandbox._fault_kinds_wire import Stall as Stall
from up42_async.sandbox._fault_kinds_wire import Truncate as Truncate
