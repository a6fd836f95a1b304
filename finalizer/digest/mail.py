"""Handing a digest to the lab's mail server."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from crystal_search.errors import TryAgainLater
from crystal_search.settings import Digest

_PATIENCE_SECONDS = 60.0
#: A larger CSV stays where it is; the text says where.
MAX_ATTACHED_BYTES = 2 * 1024 * 1024


def send(settings: Digest, subject: str, text: str, csv_file: Path) -> None:
    """Send it to ``settings.to``. Raises ``TryAgainLater`` when the server is away or refuses every address."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, settings.sender, ", ".join(settings.to)
    message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid(domain="crystal-search")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    if csv_file.stat().st_size <= MAX_ATTACHED_BYTES:
        message.add_attachment(csv_file.read_text(encoding="utf-8"), subtype="csv", filename=csv_file.name)
    host, _, port = settings.smtp.rpartition(":")
    try:
        with smtplib.SMTP(host, int(port), timeout=_PATIENCE_SECONDS) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise TryAgainLater(f"digest.smtp {settings.smtp}: the digest could not be sent ({error}); try again later") from error
