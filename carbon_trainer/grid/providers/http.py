"""Requests JSON from a web service: retries with back-off, a cache on disk, clear errors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import platformdirs
import requests
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3.util import Retry

from carbon_trainer.errors import InputError
from carbon_trainer.grid.providers.base import ProviderError

RETRY_STATUSES = (429, 500, 502, 503, 504)
SECRETS = ("api_key", "securityToken", "auth-token", "Authorization")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try.

    Attributes:
        connect_s: to wait for a connection, seconds.
        read_s: to wait for an answer, seconds.
        retries: how often to ask again.
        back_off_s: before the first retry; doubled each time, with as much at random.
        longest_s: the longest wait that a service may ask for by Retry-After, seconds.
    """

    connect_s: float = 5.0
    read_s: float = 15.0
    retries: int = 3
    back_off_s: float = 0.5
    longest_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A service's answer.

    Attributes:
        body: its JSON.
        stale: whether it is from the cache and expired, as the service gave no new one.
    """

    body: Any
    stale: bool


class _Retry(Retry):
    """Never waits longer than `longest_s`, whatever Retry-After the service sends."""

    longest_s = 30.0

    def new(self, **changes: Any) -> _Retry:
        # urllib3 makes a new object for each try, and knows only its own arguments.
        retry = super().new(**changes)
        retry.longest_s = self.longest_s
        return retry

    def get_retry_after(self, response: Any) -> float | None:
        requested_s = super().get_retry_after(response)
        return None if requested_s is None else min(requested_s, self.longest_s)


class Web:
    """One service.

    Args:
        name: its name, for messages.
        key_name: the environment variable with its key, for messages; empty where it needs none.
        cache_dir: where answers are cached; the user's cache folder by default. Keys are not.
        expire: how long an answer is valid.
        patience: how long to try.
    """

    def __init__(
        self,
        name: str,
        *,
        key_name: str = "",
        cache_dir: Path | None = None,
        expire: timedelta = timedelta(minutes=15),
        patience: Patience | None = None,
    ) -> None:
        self._name = name
        self._key_name = key_name
        self._patience = patience or Patience()
        folder = cache_dir or platformdirs.user_cache_path("carbon-trainer") / "grid"
        folder_name = hashlib.sha256(name.encode()).hexdigest()[:12]
        self._session = CachedSession(
            str(folder / folder_name),
            backend="filesystem",
            serializer="json",
            expire_after=expire,
            allowable_codes=(200,),
            ignored_parameters=SECRETS,
            # Headers carry keys and tokens: a new token must find the old answer.
            match_headers=False,
        )
        retry = _Retry(
            total=self._patience.retries,
            backoff_factor=self._patience.back_off_s,
            backoff_jitter=self._patience.back_off_s,
            status_forcelist=RETRY_STATUSES,
            raise_on_status=False,
        )
        retry.longest_s = self._patience.longest_s
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    @property
    def session(self) -> CachedSession:
        """The session, with its retries and cache, for a library that sends its own requests."""
        return self._session

    @property
    def timeout_s(self) -> int:
        """How long to wait for an answer, whole seconds."""
        return max(1, round(self._patience.read_s))

    def json(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        """Return the JSON at an address; an old answer if there is no new one.

        Args:
            url: the address.
            params: its query.
            options: for requests: headers, auth.

        Raises:
            InputError: if the service refuses the key or the request.
            ProviderError: if it does not answer, and no answer is cached.
        """
        timeout = self._patience.connect_s, self._patience.read_s
        try:
            response = self._session.get(url, params=params, timeout=timeout, **options)
            if response.status_code == requests.codes.ok:
                return Answer(self._decode(response), stale=False)
            problem = f"answered {response.status_code}"
            if response.status_code not in RETRY_STATUSES:
                raise self._error_of(response)
        except requests.RequestException as error:
            problem = _reason(error)
        cached = self._cached_response(url, params, timeout, options)
        if cached.status_code == requests.codes.ok:
            return Answer(self._decode(cached), stale=True)
        hint = "wait before asking again" if "429" in problem else "try again later"
        raise ProviderError(
            f"{self._name} {problem}, and there is no earlier answer: {hint}, or give --trace FILE"
        )

    def _cached_response(
        self, url: str, params: Mapping[str, Any] | None, timeout: tuple[float, float],
        options: dict[str, Any],
    ) -> requests.Response:  # fmt: skip
        """Return an answer from the cache, however old; status 504 where there is none."""
        # requests-cache returns an expired answer only with this setting. It is off otherwise, so
        # that a failure is seen as one and the old answer is marked as stale.
        self._session.settings.stale_if_error = True
        try:
            return self._session.get(
                url, params=params, only_if_cached=True, timeout=timeout, **options
            )
        finally:
            self._session.settings.stale_if_error = False

    def _decode(self, response: requests.Response) -> Any:
        try:
            return response.json()
        except requests.JSONDecodeError:
            raise ProviderError(
                f"{self._name} sent incomplete or invalid JSON ({len(response.content)} bytes): "
                "try again later"
            ) from None

    def _error_of(self, response: requests.Response) -> Exception:
        code = response.status_code
        if code == requests.codes.unauthorized:
            return InputError(
                f"{self._name} does not accept the key: set {self._key_name or 'its key'} to a "
                "valid one"
            )
        if code == requests.codes.forbidden:
            return InputError(
                f"{self._name} says that your plan does not include this: ask for another zone, or "
                "for history instead of forecasts"
            )
        if code in (requests.codes.not_found, requests.codes.bad_request):
            return InputError(f"{self._name} rejected the request: check the zone")
        return ProviderError(f"{self._name} answered {code}: try again later")


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "did not answer in time"
    if isinstance(error, requests.exceptions.RetryError):
        return "kept answering with errors"
    broken = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    if isinstance(error, broken):
        return "broke off its answer"
    return "could not be reached"
