"""Lambda Cloud as a provider. The facts are those of its published specification (1.8 to 1.10)."""

import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from cft.errors import CftError
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.errors import ProviderError, UnavailableError, UnknownMachineError
from tasks.machine.provider.lambda_http import KEY_VARIABLE, LambdaHttp
from tasks.machine.provider.protocol import Instance, Offer, Order
from tasks.machine.provider.settings import LambdaSettings

CONSOLE_URL = "https://cloud.lambda.ai/instances"
MOST_PAGES = 1000


def api_key(environment: Mapping[str, str] = os.environ) -> SecretStr:
    """The key of the API.

    Raises:
        CftError: there is none.
    """
    key = environment.get(KEY_VARIABLE, "").strip()
    if not key:
        raise CftError(f"{KEY_VARIABLE}: not set; make a key in Lambda's console and export it")
    return SecretStr(key)


class LambdaCloud:
    """Lambda Cloud, by its public API.

    Args:
        settings: where and how it is asked.
        key: of the API.
        clock: by which all waiting is done.
        transport: of httpx, for tests.

    Raises:
        CftError: the key would be sent in clear, or cannot be one.
    """

    console_url = CONSOLE_URL

    def __init__(
        self,
        settings: LambdaSettings,
        key: SecretStr,
        clock: RentalClock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = LambdaHttp(settings, key, clock, transport)
        self._ssh_port = settings.ssh_port

    def __repr__(self) -> str:
        return f"LambdaCloud({self._http.base_url!r})"

    def offers(self) -> list[Offer]:
        """One offer for each type and region with capacity, and one for each sold-out type.

        Raises:
            UnavailableError: no reliable answer.
            ProviderError: a refusal.
        """
        types = self._http.read("/instance-types")["data"]
        if not isinstance(types, dict):
            raise UnavailableError("Lambda Cloud: /instance-types: not in the API's form")
        found = []
        for row in types.values():
            try:
                kind, places = row["instance_type"], row["regions_with_capacity_available"]
                regions = [str(place["name"]) for place in places]
                offer = Offer(
                    instance_type=str(kind["name"]),
                    region=None,
                    cents_per_hour=int(kind["price_cents_per_hour"]),
                    gpus=int((kind.get("specs") or {}).get("gpus") or 0),
                    description=str(kind.get("gpu_description") or kind.get("description") or ""),
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # what cannot be read cannot be wished for
            found += [_in_region(offer, region) for region in regions] or [offer]
        return found

    def launch(self, order: Order) -> str:
        """Launch a machine, by one request that is never repeated in here.

        Raises:
            CapacityError: none of that type is left in that region.
            UnavailableError: it may have been launched or not.
            ProviderError: it was refused.
        """
        body: dict[str, Any] = {
            "region_name": order.region,
            "instance_type_name": order.instance_type,
            "ssh_key_names": [order.ssh_key],
            "name": order.name,
            "tags": [{"key": key, "value": value} for key, value in order.tags.items()],
        }
        if order.image_family is not None:
            body["image"] = {"family": order.image_family}
        if order.user_data is not None:
            body["user_data"] = order.user_data
        data = self._http.send("/instance-operations/launch", body, launch=True)["data"]
        ids = data.get("instance_ids") if isinstance(data, dict) else None
        if not isinstance(ids, list) or len(ids) != 1 or not isinstance(ids[0], str) or not ids[0]:
            raise UnavailableError("Lambda Cloud: launch: the answer does not name one machine")
        return ids[0]

    def describe(self, instance_id: str) -> Instance | None:
        """The machine now; None when the API says, by its code, that there is none.

        Raises:
            UnavailableError: no reliable answer.
            ProviderError: a refusal.
        """
        try:
            answer = self._http.read(f"/instances/{quote(instance_id, safe='')}")
        except UnknownMachineError:
            return None
        found = self._instance(answer["data"])
        if found.id != instance_id:
            raise UnavailableError(f"Lambda Cloud: {instance_id}: answered with another machine")
        return found

    def terminate(self, instance_id: str) -> None:
        """Ask for its end, once; no error when there is no such machine.

        Raises:
            UnavailableError: no reliable answer.
            ProviderError: a refusal, as there is while a machine boots.
        """
        try:
            self._http.send("/instance-operations/terminate", {"instance_ids": [instance_id]})
        except UnknownMachineError:
            return

    def instances(self) -> list[Instance]:
        """Every machine of the account.

        Raises:
            UnavailableError: the list cannot be had, or not as a whole.
            ProviderError: a refusal.
        """
        found: dict[str, Instance] = {}
        seen: set[str] = set()
        query: dict[str, str] | None = None
        for _ in range(MOST_PAGES):
            answer = self._http.read("/instances", query)
            if not isinstance(answer["data"], list):
                raise UnavailableError("Lambda Cloud: /instances: not in the API's form")
            for row in answer["data"]:
                one = self._instance(row)
                found[one.id] = one
            if not (token := answer.get("page_token")):
                return list(found.values())
            token = str(token)
            if token in seen:
                raise UnavailableError("Lambda Cloud: /instances: its pages go in circles")
            seen.add(token)
            query = {"page_token": token}
        raise UnavailableError("Lambda Cloud: /instances: its pages have no end")

    def register_key(self, name: str, public_key: str) -> str:
        """See to it that a public SSH key is registered.

        Args:
            name: for it, when it is not there yet.
            public_key: one line in OpenSSH's form.

        Returns:
            The name under which it is.

        Raises:
            CftError: it is no public key, or the name is another key's.
            UnavailableError: no reliable answer.
            ProviderError: a refusal.
        """
        wanted = public_key.split()[:2]
        if len(wanted) != 2:
            raise CftError("public_key: not a line such as 'ssh-ed25519 AAAA...'; give the .pub")
        if (known := self._key_named(wanted)) is not None:
            return known
        try:
            self._http.send("/ssh-keys", {"name": name, "public_key": " ".join(wanted)})
        except (ProviderError, UnavailableError) as error:
            # Another process may have been first, or the answer was lost.
            if (known := self._key_named(wanted)) is not None:
                return known
            raise error
        return name

    def _key_named(self, wanted: list[str]) -> str | None:
        rows = self._http.read("/ssh-keys")["data"]
        for row in rows if isinstance(rows, list) else []:
            # Type and key are compared; the comment is anybody's.
            if isinstance(row, dict) and str(row.get("public_key") or "").split()[:2] == wanted:
                return str(row.get("name"))
        return None

    def _instance(self, row: Any) -> Instance:
        """A row of the API without its login secrets.

        Raises:
            UnavailableError: it has no id or status. It is not left out: a machine that is not
                in a list counts as gone.
        """
        try:
            identity, status = _text(row["id"]), _text(row["status"])
        except (KeyError, TypeError, ValueError):
            identity = status = ""
        if not identity:
            raise UnavailableError("Lambda Cloud: a machine is not described in the API's form")
        kind = _mapping(row.get("instance_type"))
        price, tags = kind.get("price_cents_per_hour"), row.get("tags")
        return Instance(
            id=identity,
            status=status,
            name=str(row.get("name") or ""),
            ip=_address(row.get("ip")),
            port=self._ssh_port,
            region=str(_mapping(row.get("region")).get("name") or ""),
            instance_type=str(kind.get("name") or ""),
            cents_per_hour=price if isinstance(price, int) else 0,
            tags={
                str(tag["key"]): str(tag["value"])
                for tag in (tags if isinstance(tags, list) else ())
                if isinstance(tag, dict) and {"key", "value"} <= tag.keys()
            },
        )


def _in_region(offer: Offer, region: str) -> Offer:
    return Offer(offer.instance_type, region, offer.cents_per_hour, offer.gpus, offer.description)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _address(value: Any) -> str | None:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return None
