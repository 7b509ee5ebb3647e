"""The block that holds server, topic and token: a form in Prefect's UI, secrets kept encrypted."""

import asyncio

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import NotificationError
from pydantic import Field, SecretStr

from tasks.notify.bounded import within
from tasks.notify.message import Push
from tasks.notify.send import send
from tasks.notify.settings import BLOCK_TYPE, DOCUMENT, PUBLIC_SERVER, NtfySettings, checked

SECONDS = 10.0


class NtfyBlock(NotificationBlock):
    """Where pushes go. The document named `default` is the one that flows use."""

    _block_type_name = "cft ntfy"
    _block_type_slug = BLOCK_TYPE
    _description = "A topic on an ntfy server, for pushes to a phone."

    server: str = Field(
        default=PUBLIC_SERVER, description="The ntfy server, such as https://ntfy.sh."
    )
    topic: SecretStr = Field(
        default=..., description="The topic; whoever knows it can read it, so let it be long."
    )
    token: SecretStr | None = Field(
        default=None, description="Access token, where the server asks for one."
    )
    started: bool = Field(default=False, description="Push when a run starts as well.")

    def settings(self) -> NtfySettings:
        """The fields as settings.

        Raises:
            CftError: one of them cannot be used.
        """
        token = self.token.get_secret_value() if self.token else None
        topic = self.topic.get_secret_value()
        source = f"block {BLOCK_TYPE}/{self._block_document_name or DOCUMENT}"
        return checked(source, self.server, topic, token, self.started)

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Push a text; this is what automations of the server call.

        Raises:
            NotificationError: it was not sent, inside of `raise_on_failure`.
        """
        push = Push(title=subject or "cft", body=body)
        try:
            await asyncio.to_thread(within, SECONDS, send, push, self.settings(), SECONDS)
        except Exception as error:
            self.logger.warning("push: not sent (%s)", error)
            if self._raise_on_failure:
                raise NotificationError(str(error)) from None
