"""An asynchronous client for UP42 processing, on asyncio and trio.

A map of the package; each folder imports only what stands below it:

    processing_templates   the 16 processes, and the classes to derive more from
    _processing            templates: evaluation, execution paid once, batches
    _jobs                  jobs: models, lists, tracking, results
    _storage               STAC collections, items and assets
    _account               what surrounds a job: processes, budgets, balance
    _downloads             files: complete or absent, resumed, verified, unpacked
    _client                the client: settings, credentials, lifecycle, current client; pages, lists, reprs
    _http                  one request and its answer: session, transport, token, rate limit, retries
    _bulk                  work on many items inside a block that the caller can see
    _clock                 time
    _config                settings, and the checks of arguments
    _errors                the tree of errors

    demo                   300 jobs on a sandbox, tracked live: python -m up42_async.demo
    sandbox                a local UP42 for trials and tests; shares no code with the rest
    cli, __main__          the command `up42`: a thin layer over the library
    pytest_plugin          fixtures for your own tests: a sandbox, and a client for it
"""

import sys as _sys
from itertools import pairwise as _pairwise

if _sys.argv[:1] == ["-m"] and ("-m", "up42_async") in _pairwise(_sys.orig_argv):
    # `python -m up42_async` imports the package before __main__: Ctrl-C ends the command without a traceback here, too
    import _up42_command

    _up42_command.end_on_interrupt()

from up42_async._account.budgets import Budget as Budget
from up42_async._account.budgets import ValidityPeriod as ValidityPeriod
from up42_async._account.processes import Process as Process
from up42_async._account.processes import ProcessInput as ProcessInput
from up42_async._account.processes import ProcessPrice as ProcessPrice
from up42_async._client import Client as Client
from up42_async._client import Statistics as Statistics
from up42_async._client import set_default_client as set_default_client
from up42_async._client.balance import Balance as Balance
from up42_async._config import VERSION as _VERSION
from up42_async._config import Endpoints as Endpoints
from up42_async._config import Limits as Limits
from up42_async._config import Polling as Polling
from up42_async._config import RetryPolicy as RetryPolicy
from up42_async._config import Timeouts as Timeouts
from up42_async._downloads.download import DownloadError as DownloadError
from up42_async._downloads.download import DownloadErrorGroup as DownloadErrorGroup
from up42_async._downloads.progress import DownloadProgress as DownloadProgress
from up42_async._downloads.progress import FileProgress as FileProgress
from up42_async._errors import APIError as APIError
from up42_async._errors import AuthenticationError as AuthenticationError
from up42_async._errors import ConfigurationError as ConfigurationError
from up42_async._errors import ConnectionFailedError as ConnectionFailedError
from up42_async._errors import ConnectionLostError as ConnectionLostError
from up42_async._errors import InvalidCredentialsError as InvalidCredentialsError
from up42_async._errors import JournalError as JournalError
from up42_async._errors import NotFoundError as NotFoundError
from up42_async._errors import PaginationError as PaginationError
from up42_async._errors import PermissionDeniedError as PermissionDeniedError
from up42_async._errors import RateLimitError as RateLimitError
from up42_async._errors import RequestTimeoutError as RequestTimeoutError
from up42_async._errors import ServerError as ServerError
from up42_async._errors import StatusError as StatusError
from up42_async._errors import TransportError as TransportError
from up42_async._errors import UnexpectedResponseError as UnexpectedResponseError
from up42_async._errors import UntrustedURLError as UntrustedURLError
from up42_async._errors import Up42Error as Up42Error
from up42_async._jobs.job import Job as Job
from up42_async._jobs.job import JobFailedError as JobFailedError
from up42_async._jobs.job import UnfinishedJob as UnfinishedJob
from up42_async._jobs.listing import JobList as JobList
from up42_async._jobs.models import TERMINAL_STATUSES as TERMINAL_STATUSES
from up42_async._jobs.models import JobMetadata as JobMetadata
from up42_async._jobs.models import JobResults as JobResults
from up42_async._jobs.models import JobSorting as JobSorting
from up42_async._jobs.models import JobStatus as JobStatus
from up42_async._jobs.models import SortingField as SortingField
from up42_async._jobs.models import ValidationError as ValidationError
from up42_async._jobs.result_downloads import download as download
from up42_async._jobs.tracking import JobTracker as JobTracker
from up42_async._jobs.tracking import StatusUpdates as StatusUpdates
from up42_async._jobs.tracking import track as track
from up42_async._processing.batch import EvaluationBatch as EvaluationBatch
from up42_async._processing.batch import ExecutionBatch as ExecutionBatch
from up42_async._processing.batch import evaluate as evaluate
from up42_async._processing.batch import execute as execute
from up42_async._processing.cost import Cost as Cost
from up42_async._processing.evaluation import InvalidTemplateError as InvalidTemplateError
from up42_async._processing.executor import CostLimitError as CostLimitError
from up42_async._processing.executor import ExecutionResult as ExecutionResult
from up42_async._processing.journal import Journal as Journal
from up42_async._processing.journal import JournalEntry as JournalEntry
from up42_async._processing.pipeline import pipeline as pipeline
from up42_async._processing.pipeline_batch import PipelineBatch as PipelineBatch
from up42_async._processing.pipeline_batch import PipelineResult as PipelineResult
from up42_async._processing.recovery import ExecutionUncertainError as ExecutionUncertainError
from up42_async._storage.assets import Asset as Asset
from up42_async._storage.assets import initialize_asset as initialize_asset
from up42_async._storage.collections import delete_collection as delete_collection
from up42_async._storage.collections import get_collection as get_collection
from up42_async._storage.collections import get_item as get_item
from up42_async._storage.collections import get_queryables as get_queryables
from up42_async._storage.collections import list_collections as list_collections
from up42_async._storage.collections import update_item as update_item
from up42_async._storage.download_batch import DownloadBatch as DownloadBatch
from up42_async._storage.download_batch import ResultFile as ResultFile
from up42_async._storage.item_files import download_items as download_items
from up42_async._storage.item_files import signed_url as signed_url
from up42_async._storage.properties import Up42Properties as Up42Properties
from up42_async._storage.search import search_items as search_items

__version__ = _VERSION

for _value in list(vars().values()):
    # tracebacks, reprs and documentation show the public name `up42_async.X` instead of the private module
    if getattr(_value, "__module__", "").startswith("up42_async._"):
        _value.__module__ = "up42_async"
del _value
