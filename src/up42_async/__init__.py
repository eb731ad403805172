"""An asynchronous client for UP42 processing, on asyncio and trio.

A map of the package, from the verbs down to the bytes; each module imports only what stands below it:

    processing_templates       what to run on what: the 16 processes, and the classes to derive more from
    _batch                     evaluate and execute many templates
    _templates                 evaluate and execute one; _template_fields: what its inputs may be
    _evaluation, _costs        asking whether and for how much | what a process costs
    _execution                 executing once, and never paying twice
    _claims, _allowance        no job for two executions | no more credits than allowed
    _running                   working on many things inside a block that you can see

    _track                     many jobs until they are finished
    _jobs, _job_metadata       a job, and all that match | what UP42 sends of it
    _job_lists, _job_filters   the list of jobs, and many by id | which ones
    _tracking                  when to ask again, and asking once for everybody who waits

    _results                   the files of many jobs
    _storage, _assets          collections and items | what is in storage
    _search, _selection        searching items | which of their files
    _stac, _properties         pystac objects without hidden network access | UP42's properties of an item
    _downloads, _transfer      files of one job or asset | one file, whole or not at all
    _part_file, _own_files     what came so far | in files that nobody else writes
    _file_heads                what the answer says of the file
    _file_names, _checksums    safe names | is it what it should be?
    _signed_urls, _archives    where files may come from | unpacking
    _progress, _progress_bar   how far a download is | and to look at

    _pagination                pages
    _client                    the client's lifecycle, and one call: slot, rate, token, attempt, decode, retry
    _auth, _credentials        one token for all tasks | what to log in with
    _rate                      the pace of a client
    _transport, _bodies        one exchange, and what its errors mean | the body of an answer, within a limit
    _connections, _network     connections, each for one exchange at a time | all that has come over TLS at once
    _environment               proxies, and whose certificates are trusted
    _flight                    asking once for all who want to know
    _retry, _wire              may this be sent again? | requests, answers, links, timestamps
    _vocabulary                statuses, sorting fields, metadata
    _config, _clock, _errors   settings | time | what can go wrong

    sandbox                    an UP42 of your own for trying out and for tests; shares no code with the rest
"""

from up42_async._allowance import CostLimitExceeded as CostLimitExceeded
from up42_async._assets import Asset as Asset
from up42_async._assets import initialize_asset as initialize_asset
from up42_async._batch import Evaluations as Evaluations
from up42_async._batch import Executions as Executions
from up42_async._batch import evaluate as evaluate
from up42_async._batch import execute as execute
from up42_async._client import Client as Client
from up42_async._client import Statistics as Statistics
from up42_async._config import Endpoints as Endpoints
from up42_async._config import Limits as Limits
from up42_async._config import RetryPolicy as RetryPolicy
from up42_async._config import Timeouts as Timeouts
from up42_async._costs import Cost as Cost
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
from up42_async._execution import ExecutionUncertain as ExecutionUncertain
from up42_async._jobs import Job as Job
from up42_async._jobs import JobFailed as JobFailed
from up42_async._jobs import UnfinishedJob as UnfinishedJob
from up42_async._progress import DownloadProgress as DownloadProgress
from up42_async._progress import FileProgress as FileProgress
from up42_async._properties import Up42Properties as Up42Properties
from up42_async._results import ResultDownload as ResultDownload
from up42_async._results import ResultFile as ResultFile
from up42_async._results import download as download
from up42_async._search import search_items as search_items
from up42_async._storage import get_collection as get_collection
from up42_async._storage import update_item as update_item
from up42_async._templates import Execution as Execution
from up42_async._templates import InvalidTemplate as InvalidTemplate
from up42_async._track import Tracking as Tracking
from up42_async._track import Updates as Updates
from up42_async._track import track as track
from up42_async._transfer import DownloadFailed as DownloadFailed
from up42_async._vocabulary import TERMINAL_STATUSES as TERMINAL_STATUSES
from up42_async._vocabulary import JobMetadata as JobMetadata
from up42_async._vocabulary import JobResults as JobResults
from up42_async._vocabulary import JobSorting as JobSorting
from up42_async._vocabulary import JobStatus as JobStatus
from up42_async._vocabulary import SortingField as SortingField
from up42_async._vocabulary import ValidationError as ValidationError

for _value in list(vars().values()):
    # tracebacks, reprs and documentation name the door, where users find these things, not the room behind it
    if getattr(_value, "__module__", "").startswith("up42_async._"):
        _value.__module__ = "up42_async"
del _value
