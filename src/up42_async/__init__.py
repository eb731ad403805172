"""An asynchronous client for UP42 processing, on asyncio and trio.

A map of the package; each folder imports only what stands below it:

    processing_templates   the 16 processes, and the classes to derive more from
    _processing            templates: evaluation, execution paid once, batches
    _jobs                  jobs: models, lists, tracking, results
    _storage               STAC collections, items and assets
    _account               what surrounds a job: processes, budgets, balance
    _downloads             files: whole or absent, resumed, verified, unpacked
    _client                the client: settings, lifecycle, the current one
    _http                  one request and its answer: session, transport, token, pace, retries, pages
    _bulk                  work on many things inside a block that you can see
    _clock                 time
    _config                settings
    _errors                the tree of errors

    sandbox                an UP42 of your own for trying out and for tests; shares no code with the rest
"""

from up42_async._client import Client as Client
from up42_async._client import Statistics as Statistics
from up42_async._config import Endpoints as Endpoints
from up42_async._config import Limits as Limits
from up42_async._config import RetryPolicy as RetryPolicy
from up42_async._config import Timeouts as Timeouts
from up42_async._downloads.download import DownloadFailed as DownloadFailed
from up42_async._downloads.progress import DownloadProgress as DownloadProgress
from up42_async._downloads.progress import FileProgress as FileProgress
from up42_async._errors import AuthError as AuthError
from up42_async._errors import ConnectionFailed as ConnectionFailed
from up42_async._errors import ConnectionLost as ConnectionLost
from up42_async._errors import Forbidden as Forbidden
from up42_async._errors import ForeignLink as ForeignLink
from up42_async._errors import NotFound as NotFound
from up42_async._errors import PaginationError as PaginationError
from up42_async._errors import RateLimited as RateLimited
from up42_async._errors import RequestFailed as RequestFailed
from up42_async._errors import RequestTimedOut as RequestTimedOut
from up42_async._errors import ServerError as ServerError
from up42_async._errors import SettingsUnusable as SettingsUnusable
from up42_async._errors import StatusError as StatusError
from up42_async._errors import TransportError as TransportError
from up42_async._errors import UnexpectedResponse as UnexpectedResponse
from up42_async._errors import Up42Error as Up42Error
from up42_async._errors import WrongCredentials as WrongCredentials
from up42_async._jobs.job import Job as Job
from up42_async._jobs.job import JobFailed as JobFailed
from up42_async._jobs.job import UnfinishedJob as UnfinishedJob
from up42_async._jobs.models import TERMINAL_STATUSES as TERMINAL_STATUSES
from up42_async._jobs.models import JobMetadata as JobMetadata
from up42_async._jobs.models import JobResults as JobResults
from up42_async._jobs.models import JobSorting as JobSorting
from up42_async._jobs.models import JobStatus as JobStatus
from up42_async._jobs.models import SortingField as SortingField
from up42_async._jobs.models import ValidationError as ValidationError
from up42_async._jobs.result_downloads import ResultDownload as ResultDownload
from up42_async._jobs.result_downloads import ResultFile as ResultFile
from up42_async._jobs.result_downloads import download as download
from up42_async._jobs.tracking import Tracking as Tracking
from up42_async._jobs.tracking import Updates as Updates
from up42_async._jobs.tracking import track as track
from up42_async._processing.batch import Evaluations as Evaluations
from up42_async._processing.batch import Executions as Executions
from up42_async._processing.batch import evaluate as evaluate
from up42_async._processing.batch import execute as execute
from up42_async._processing.cost import Cost as Cost
from up42_async._processing.credit_budget import CostLimitExceeded as CostLimitExceeded
from up42_async._processing.execution import ExecutionUncertain as ExecutionUncertain
from up42_async._processing.template import Execution as Execution
from up42_async._processing.template import InvalidTemplate as InvalidTemplate
from up42_async._storage.assets import Asset as Asset
from up42_async._storage.assets import initialize_asset as initialize_asset
from up42_async._storage.collections import get_collection as get_collection
from up42_async._storage.collections import update_item as update_item
from up42_async._storage.properties import Up42Properties as Up42Properties
from up42_async._storage.search import search_items as search_items

for _value in list(vars().values()):
    # tracebacks, reprs and documentation name the door, where users find these things, not the room behind it
    if getattr(_value, "__module__", "").startswith("up42_async._"):
        _value.__module__ = "up42_async"
del _value
