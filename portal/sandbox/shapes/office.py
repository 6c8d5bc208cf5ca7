"""Customers, events, webhook endpoints and accounts."""

from __future__ import annotations

from typing import Any

from portal.sandbox.ids import new_id
from portal.sandbox.problems import Json

API_VERSION = "2026-10-28.endive"


def customer_shape(now: int, *, livemode: bool) -> Json:
    customer_id = new_id("cus")
    return {
        "id": customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": customer_id[4:12].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def event_shape(now: int, *, kind: str, data: Json, request: Json, livemode: bool) -> Json:
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": data,
        "livemode": livemode,
        "pending_webhooks": 0,
        "request": request,
        "type": kind,
    }


def webhook_endpoint_shape(now: int, *, url: str, enabled_events: list[str], livemode: bool) -> Json:
    return {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": now,
        "description": None,
        "enabled_events": enabled_events,
        "livemode": livemode,
        "metadata": {},
        "status": "enabled",
        "url": url,
        "_secrets": [],
    }


def _requirements() -> Json:
    lists: dict[str, Any] = {
        name: []
        for name in ("alternatives", "currently_due", "errors", "eventually_due", "past_due", "pending_verification")
    }
    return {**lists, "current_deadline": None, "disabled_reason": None}


def account_shape(account_id: str, name: str, now: int) -> Json:
    external_accounts = f"/v1/accounts/{account_id}/external_accounts"
    return {
        "id": account_id,
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "8011",
            "minority_owned_business_designation": None,
            "name": name,
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
        },
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "CA",
        "created": now,
        "default_currency": "cad",
        "details_submitted": True,
        "email": "clinic@example.com",
        "external_accounts": {"object": "list", "data": [], "has_more": False, "url": external_accounts},
        "future_requirements": _requirements(),
        "metadata": {},
        "payouts_enabled": True,
        "requirements": _requirements(),
        "settings": {
            "bacs_debit_payments": {"display_name": None, "service_user_number": None},
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_issuing": {"tos_acceptance": {"date": None, "ip": None}},
            "card_payments": {
                "decline_on": {"avs_failure": False, "cvc_failure": False},
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": name, "timezone": "America/Toronto"},
            "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": None},
            "payments": {
                "statement_descriptor": "SANDBOX CLINIC",
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "payouts": {
                "debit_negative_balances": True,
                "schedule": {"delay_days": 2, "interval": "daily"},
                "statement_descriptor": None,
            },
            "sepa_debit_payments": {},
        },
        "tos_acceptance": {"date": now, "ip": None, "user_agent": None},
        "type": "standard",
    }
