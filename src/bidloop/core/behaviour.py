"""What users did: pages, sessions, forms, e-mails, devices."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bidloop.core.happening import Id, Personal, Text

Url = Annotated[Text, Meta(description="Address of the page; its query and fragment are not kept.")]
Referrer = Annotated[Text, Meta(description="Where the visit came from; its query and fragment are not kept.")]
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
CampaignId = Annotated[Id, Meta(description="The campaign that led there, where it is known.")]


class PageViewed(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A page was viewed."""

    url: Url = ""
    referrer: Referrer = ""
    campaign_id: CampaignId = ""


class SessionStarted(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A visit began."""

    url: Url = ""
    referrer: Referrer = ""
    device: Annotated[Id, Meta(description="The kind of device.")] = ""
    location: Annotated[Id, Meta(description="The place, as your platform names it.")] = ""
    campaign_id: CampaignId = ""


class SessionEnded(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A visit ended. A bounce is a visit of one page."""

    duration_seconds: Annotated[Seconds | None, Meta(description="How long the visit lasted.")] = None
    page_views: Annotated[Count | None, Meta(description="How many pages were viewed in it.")] = None
    campaign_id: CampaignId = ""


class FormSubmitted(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A form was submitted. What was written in it is not told."""

    form_id: Annotated[Id, Meta(description="Which form.")] = ""
    url: Url = ""
    campaign_id: CampaignId = ""


class EmailOpened(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """An e-mail was opened."""

    message_id: Annotated[Id, Meta(description="Which mailing; not the recipient's address.")] = ""
    campaign_id: CampaignId = ""


class EmailClicked(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A link in an e-mail was clicked."""

    message_id: Annotated[Id, Meta(description="Which mailing; not the recipient's address.")] = ""
    url: Url = ""
    campaign_id: CampaignId = ""


class DeviceLinked(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A device or browser was recognised as a user's: `device_id` belongs to `user_id`."""

    device: Annotated[Id, Meta(description="The kind of device.")] = ""
