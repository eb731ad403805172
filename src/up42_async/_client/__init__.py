"""The client: settings, credentials, lifecycle and the current client; how lists are read, and objects shown."""

from up42_async._client.client import DEFAULT_TIMEOUTS as DEFAULT_TIMEOUTS
from up42_async._client.client import Client as Client
from up42_async._client.client import current_client as current_client
from up42_async._client.client import set_default_client as set_default_client
from up42_async._client.statistics import Statistics as Statistics
