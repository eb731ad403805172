"""Settings of a client, and checks of arguments."""

from up42_async._config.polling import Polling as Polling
from up42_async._config.polling import PollingLike as PollingLike
from up42_async._config.polling import Wait as Wait
from up42_async._config.settings import REGIONS as REGIONS
from up42_async._config.settings import VERSION as VERSION
from up42_async._config.settings import Endpoints as Endpoints
from up42_async._config.settings import EndpointsLike as EndpointsLike
from up42_async._config.settings import Limits as Limits
from up42_async._config.settings import RetryPolicy as RetryPolicy
from up42_async._config.settings import Timeouts as Timeouts
from up42_async._config.settings import is_loopback as is_loopback
