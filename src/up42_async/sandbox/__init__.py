"""A sandbox: a local server that behaves like UP42, in memory and behind real HTTP on 127.0.0.1.

    async with Sandbox(speed=60) as sandbox:  # an hour of processing takes a minute
        async with up42.Client(**sandbox.settings) as client: ...

`python -m up42_async.sandbox` runs one in a process of its own. It shares no code with the client, so that neither can
hide the other's mistakes. The files:

    _sandbox                  Sandbox: its settings, start and stop, and its addresses
    _controls*, _views        methods that change and read its state; the values they return
    _control_*                the same over HTTP, for a sandbox in another process
    _app                      the ASGI application of each origin: counting, faults, token, routes
    _routes_auth              tokens and userinfo
    _routes_processing        processes, validation, cost, execution, jobs
    _routes_account           balances, budgets and their usage, EULAs
    _listing                  the job list: filters, order, pages, links
    _routes_stac, _stac       collections, items and search; their JSON
    _searching, _filters      searches; filters in CQL2-JSON
    _routes_assets            assets: their list, metadata, signed URLs and bytes
    _asset_listing, _paging   filters and order of assets; lists in numbered pages
    _files_app, _ranges       the origin of signed URLs: files, or parts of them
    _signing                  signed URLs, and whether they are still valid
    _faults, faults           which fault hits which request; the public kinds of faults
    _fault_kinds_*            the kinds of faults; _fault_checks checks their arguments
    _exchange, _answers       one request and its answer as values; bodies of answers
    _server, _wire            the thread, its listening sockets, and connections that can be broken
    _traffic                  counts of requests and connections
    _world                    account, processes, jobs and credits, behind one lock
    _executions, _seeding     how jobs are created: by an execution, or for a test
    _jobs, _lifecycle         a job, its statuses and its timeline
    _lives, _recorded_*       the timelines of jobs: short ones, or as real jobs were recorded
    _storage, _items          collections, items and files, and whether they are visible
    _results                  the results of a job
    _contents                 the bytes of files
    _geotiff, _archives       GeoTIFFs and archives
    _account, _budgets        tokens and credits; budgets
    _processes, _validation, _pricing   processes, checks of their inputs, prices
    _settings, _scaled_clock  settings, and the clock
"""

try:
    import cql2 as _cql2
    import starlette as _starlette
    import uvicorn as _uvicorn
except ImportError as _error:
    raise ImportError(
        f"The sandbox needs {_error.name}, which is not installed: pip install 'up42-async[sandbox]'", name=_error.name
    ) from _error

from up42_async.sandbox import faults as faults
from up42_async.sandbox._account import Balance as Balance
from up42_async.sandbox._faults import Fault as Fault
from up42_async.sandbox._faults import Faults as Faults
from up42_async.sandbox._sandbox import Sandbox as Sandbox
from up42_async.sandbox._seeding import REFERENCE_ASSET as REFERENCE_ASSET
from up42_async.sandbox._seeding import REFERENCE_JOB as REFERENCE_JOB
from up42_async.sandbox._traffic import Connections as Connections
from up42_async.sandbox._traffic import RequestRecord as RequestRecord
from up42_async.sandbox._views import ClientSettings as ClientSettings
from up42_async.sandbox._views import Execution as Execution
from up42_async.sandbox._views import SandboxBudget as SandboxBudget
from up42_async.sandbox._views import SandboxControl as SandboxControl
from up42_async.sandbox._views import SandboxEndpoints as SandboxEndpoints
from up42_async.sandbox._views import SandboxJob as SandboxJob
from up42_async.sandbox._views import SandboxPolling as SandboxPolling
from up42_async.sandbox._views import StoredFile as StoredFile

del _cql2, _starlette, _uvicorn
