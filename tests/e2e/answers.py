"""What the mock model says: the four APIs that the provider CLIs speak, each with its own shapes.

All of them report the same usage, so that tests can name it: 1234 tokens sent, 200 of them cached, 56 received, of
which 7 were reasoning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from refusals import Refusal
from replies import DONE, Call, Said

SENT, CACHED, RECEIVED, REASONING = 1234, 200, 56, 7
Body = Mapping[str, Any]


class Part(NamedTuple):
    """One event of a stream."""

    data: Any
    name: str = ""


def _words(said: Said) -> str:
    return said if isinstance(said, str) else DONE


class Responses:
    """OpenAI's Responses, as codex speaks it."""

    ends = "/responses"

    def tools(self, body: Body) -> list[str]:
        found = [tool.get("name") or tool.get("type") for tool in body.get("tools") or []]
        for item in body.get("input") or []:
            # Newer models get their tools as an item of the input.
            for space in item.get("tools", []) if item.get("type") == "additional_tools" else []:
                inner = [f"{space.get('name')}.{tool.get('name')}" for tool in space.get("tools", [])]
                found += inner or [space.get("name")]
        return found

    def answered(self, body: Body) -> int:
        return sum(str(item.get("type")).endswith("_output") for item in body.get("input") or [])

    def refusal(self, why: Refusal) -> Any:
        if why.resets_at:
            error = {"type": "usage_limit_reached", "message": "The usage limit has been reached"}
            return {"error": error | {"plan_type": "pro", "resets_at": why.resets_at}}
        return {"error": {"message": why.words, "type": why.kind, "code": why.kind, "param": None}}

    def begins(self, body: Body) -> Part:
        return Part({"type": "response.created", "response": {"id": "resp_1"}}, "response.created")

    def stream(self, body: Body, said: Said) -> Iterator[Part]:
        yield self.begins(body)
        if isinstance(said, str):
            content = [{"type": "output_text", "text": said}]
            item = {"type": "message", "role": "assistant", "id": "msg_1", "content": content}
        elif said.tool in ("functions.exec", "exec"):
            item = {"type": "custom_tool_call", **self._ids(body), "input": said.arguments}
            item |= {"name": "exec"} | ({"namespace": "functions"} if "." in said.tool else {})
        else:
            item = {"type": "function_call", **self._ids(body), "name": said.tool}
            item["arguments"] = json.dumps(said.arguments)
        kind = "response.output_item.done"
        yield Part({"type": kind, "output_index": 0, "item": item}, kind)
        usage = {
            "input_tokens": SENT,
            "input_tokens_details": {"cached_tokens": CACHED},
            "output_tokens": RECEIVED,
            "output_tokens_details": {"reasoning_tokens": REASONING},
            "total_tokens": SENT + RECEIVED,
        }
        kind = "response.completed"
        yield Part({"type": kind, "response": {"id": "resp_1", "usage": usage}}, kind)

    def _ids(self, body: Body) -> dict[str, str]:
        number = self.answered(body) + 1
        return {"id": f"c_{number}", "call_id": f"call_{number}"}

    def whole(self, body: Body, said: Said) -> Any:
        return {}


class Chat:
    """OpenAI's Chat Completions, as opencode speaks it."""

    ends = "/chat/completions"

    def tools(self, body: Body) -> list[str]:
        return [tool.get("function", {}).get("name") for tool in body.get("tools") or []]

    def answered(self, body: Body) -> int:
        return sum(message.get("role") == "tool" for message in body.get("messages", []))

    def refusal(self, why: Refusal) -> Any:
        kind, words = why.kind, why.words
        if why.resets_at:
            kind, words = "insufficient_quota", "You exceeded your current quota, please check your plan."
        return {"error": {"message": words, "type": kind, "code": kind, "param": None}}

    def begins(self, body: Body) -> Part:
        return self._chunk(body, {"role": "assistant", "content": ""})

    def stream(self, body: Body, said: Said) -> Iterator[Part]:
        yield self.begins(body)
        if isinstance(said, str):
            yield self._chunk(body, {"content": said})
            yield self._chunk(body, {}, "stop")
        else:
            function = {"name": said.tool, "arguments": json.dumps(said.arguments)}
            name = f"call_{self.answered(body) + 1}"
            made = [{"index": 0, "id": name, "type": "function", "function": function}]
            yield self._chunk(body, {"tool_calls": made})
            yield self._chunk(body, {}, "tool_calls")
        yield Part({**self._head(body, "chat.completion.chunk"), "choices": [], "usage": self._usage()})
        yield Part("[DONE]")

    def whole(self, body: Body, said: Said) -> Any:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": _words(said)},
            "finish_reason": "stop",
        }
        return {**self._head(body, "chat.completion"), "choices": [choice], "usage": self._usage()}

    def _chunk(self, body: Body, delta: Any, end: str | None = None) -> Part:
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        return Part({**self._head(body, "chat.completion.chunk"), "choices": [choice]})

    def _head(self, body: Body, kind: str) -> dict[str, Any]:
        return {"id": "chat_1", "object": kind, "created": 1, "model": body.get("model")}

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": SENT,
            "completion_tokens": RECEIVED,
            "total_tokens": SENT + RECEIVED,
            "prompt_tokens_details": {"cached_tokens": CACHED},
            "completion_tokens_details": {"reasoning_tokens": REASONING},
        }


class Gemini:
    """Google's generateContent."""

    ends = "enerateContent"
    _STATUS = {  # noqa: RUF012 (a table)
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
    }

    def tools(self, body: Body) -> list[str]:
        kinds = body.get("tools") or []
        return [tool.get("name") for kind in kinds for tool in kind.get("functionDeclarations", [])]

    def answered(self, body: Body) -> int:
        parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
        return sum("functionResponse" in part for part in parts)

    def refusal(self, why: Refusal) -> Any:
        error = {"code": why.status, "message": why.words, "status": self._STATUS[why.status]}
        if why.resets_at:
            quota = {
                "quotaMetric": "generate_requests_per_model_per_day",
                "quotaId": "RequestsPerDayPerModel",
            }
            failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}
            error |= {"message": "You exceeded your current quota.", "details": [failure]}
        elif why.headers.get("Retry-After"):
            wait = f"{why.headers['Retry-After']}s"
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait}]
        return {"error": error}

    def begins(self, body: Body) -> Part:
        return Part({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "I "}]}}]})

    def stream(self, body: Body, said: Said) -> Iterator[Part]:
        yield Part(self.whole(body, said))

    def whole(self, body: Body, said: Said) -> Any:
        part: dict[str, Any] = {"text": said}
        if isinstance(said, Call):
            made = {"name": said.tool, "args": said.arguments}
            part = {"functionCall": made, "thoughtSignature": "bW9jaw=="}
        elif (body.get("generationConfig") or {}).get("responseMimeType") == "application/json":
            # What the CLI asks for itself: which model fits, whose turn it is.
            found = {"reasoning": "mock", "model_choice": "flash", "next_speaker": "user"}
            part = {"text": json.dumps({**found, "complexity_score": 10, "complexity_reasoning": "mock"})}
        usage = {
            "promptTokenCount": SENT,
            "cachedContentTokenCount": CACHED,
            "candidatesTokenCount": RECEIVED,
            "thoughtsTokenCount": REASONING,
            "totalTokenCount": SENT + RECEIVED + REASONING,
        }
        content = {"role": "model", "parts": [part]}
        first = {"index": 0, "content": content, "finishReason": "STOP"}
        return {"candidates": [first], "usageMetadata": usage, "modelVersion": "mock"}


class Messages:
    """Anthropic's Messages, as claude speaks it."""

    ends = "/messages"

    def tools(self, body: Body) -> list[str]:
        return [tool.get("name") for tool in body.get("tools") or []]

    def answered(self, body: Body) -> int:
        """How many tool calls have been answered."""
        contents = [message.get("content") for message in body.get("messages", [])]
        blocks = [block for content in contents if isinstance(content, list) for block in content]
        return sum(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)

    def refusal(self, why: Refusal) -> Any:
        return {"type": "error", "error": {"type": why.kind, "message": why.words}, "request_id": "req_1"}

    def begins(self, body: Body) -> Part:
        usage = {**self._usage(), "output_tokens": 1}
        message = {**self._message(body), "content": [], "stop_reason": None, "usage": usage}
        return Part({"type": "message_start", "message": message}, "message_start")

    def stream(self, body: Body, said: Said) -> Iterator[Part]:
        yield self.begins(body)
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": said}
        if isinstance(said, Call):
            name = f"toolu_{self.answered(body) + 1}"
            block = {"type": "tool_use", "id": name, "name": said.tool, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(said.arguments)}
        stop = {"stop_reason": "tool_use" if isinstance(said, Call) else "end_turn", "stop_sequence": None}
        for data in (
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": RECEIVED}},
            {"type": "message_stop"},
        ):
            yield Part(data, str(data["type"]))

    def whole(self, body: Body, said: Said) -> Any:
        content = [{"type": "text", "text": _words(said)}]
        return {**self._message(body), "content": content, "stop_reason": "end_turn", "usage": self._usage()}

    def _message(self, body: Body) -> dict[str, Any]:
        kind = {"id": "msg_1", "type": "message", "role": "assistant", "stop_sequence": None}
        return {**kind, "model": body.get("model")}

    def _usage(self) -> dict[str, Any]:
        cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED}
        return {"input_tokens": SENT - CACHED, **cached, "output_tokens": RECEIVED}


Api = Responses | Chat | Gemini | Messages
APIS: tuple[Api, ...] = (Responses(), Chat(), Gemini(), Messages())
