"""The examples of the API's description; the tests send them, and hold the answers against them."""

from __future__ import annotations

from typing import Any

EXAMPLE_CELL: dict[str, Any] = {
    "campaignId": "spring-shoes",
    "adGroupId": "running",
    "keyword": "trail running shoes",
    "device": "mobile",
    "location": "US-CA",
    "timeOfDay": 14,
    "budget": 500.0,
    "currentBid": 1.25,
    "historicalMetrics": {"ctr": 0.042, "conversionRate": 0.061, "spend": 1250.0, "impressions": 25000, "clicks": 1050},
}
EXAMPLE_BANNER: dict[str, Any] = {
    **EXAMPLE_CELL,
    "keyword": "",
    "timeOfDay": 20,
    "currentBid": 0,
    "auction": "first_price",
    "charge": "per_mille",
    "floor": 0.4,
    "attributes": {"domain": "news.example", "slot_size": "300x250"},
    "measures": {"slot_floor": 0.4},
}
EXAMPLE_ANSWER: dict[str, Any] = {
    "predictedCTR": 0.0431,
    "predictedConversionRate": 0.058,
    "confidenceInterval": {"lower": 0.0334, "upper": 0.0541},
    "credibleInterval": {"lower": 0.0382, "upper": 0.0487, "level": 0.95, "measuredCoverage": 0.944},
    "conversionRateInterval": {"lower": 0.041, "upper": 0.0783, "level": 0.95, "measuredCoverage": None},
    "confidence": 0.87,
    "recommendedBid": 1.3,
    "expectedROAS": 3.2,
    "modelVersion": "v4f1d2c9a0b73",
    "inferenceTimeMs": 1.312,
    "reasoning": ["The value of a click is 1.74 USD.", "device = mobile raises the predicted odds of a click by 50%."],
    "decisionId": "019ab3d0c2f4a1b2c3d4e5f60718293a",
    "confidenceLevel": 0.95,
    "measuredCoverage": 0.948,
    "bidStages": [
        {
            "name": "value",
            "before": 0.0,
            "after": 1.74,
            "code": "target_cpa",
            "sentence": "A click is worth 5.8% of 30 USD.",
        },
        {
            "name": "pacing",
            "before": 1.74,
            "after": 1.3,
            "code": "paced",
            "sentence": "The budget lets 75% of it through.",
        },
    ],
    "degraded": [],
}
EXAMPLE_PROBLEM: dict[str, Any] = {
    "type": "/docs#wrong-fields",
    "title": "The request has wrong fields",
    "status": 422,
    "detail": "2 things are wrong. The first: budget: found -5, expected a number from 0 to 1000000000000. "
    "Mend the fields named in `errors` and send again.",
    "instance": "/v1/predict",
    "errors": [
        {"path": "budget", "found": "-5", "expected": "a number from 0 to 1000000000000"},
        {"path": "historicalMetrics.ctr", "found": "1.7", "expected": "a number from 0 to 1"},
    ],
}
EXAMPLE_EVENT: dict[str, Any] = {
    "type": "conversion_reported",
    "eventId": "order-2217",
    "at": "2026-03-01T12:00:00Z",
    "impressionId": "019ab3d0c2f4a1b2c3d4e5f60718293a",
    "orderId": "2217",
    "value": 49.9,
}
EXAMPLE_VIEW: dict[str, Any] = {
    "type": "page_viewed",
    "eventId": "019ab3d1-07a4-7c3e-9a51-0d2f6b1e4c88",
    "at": "2026-03-01T11:58:30Z",
    "userId": "customer-5",
    "consent": True,
    "url": "https://shop.example/shoes",
}
EXAMPLE_TAKEN: dict[str, Any] = {
    "accepted": 1,
    "duplicates": 0,
    "rejected": 1,
    "events": [
        {"index": 0, "eventId": "order-2217", "status": "accepted", "code": None, "reason": None},
        {
            "index": 1,
            "eventId": "c-1",
            "status": "rejected",
            "code": "missing_field",
            "reason": "no impressionId; expected a value for impressionId",
        },
    ],
}
