"""etcd's messages, made at run time from one table, in a descriptor pool of their own.

No generated code, so any protobuf runtime will do; a pool of our own, so that another etcd client in the same process
defines its messages without a clash. The table holds what Weft uses; unknown fields are kept by protobuf and ignored.
Enums are written as int32: the wire is the same. Source: etcd `api/etcdserverpb/rpc.proto`, `api/mvccpb/kv.proto`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Wire: TypeAlias = Any
"""An instance of one of the classes below. They exist at run time only; what each holds is in `_TABLE`."""

_TABLE = {
    "KeyValue": "key=1 bytes, create_revision=2 int64, mod_revision=3 int64, version=4 int64, value=5 bytes, lease=6 int64",
    "Event": "type=1 int32, kv=2 KeyValue",
    "ResponseHeader": "cluster_id=1 uint64, member_id=2 uint64, revision=3 int64, raft_term=4 uint64",
    "RangeRequest": "key=1 bytes, range_end=2 bytes, limit=3 int64, revision=4 int64, keys_only=8 bool",
    "RangeResponse": "header=1 ResponseHeader, kvs=2 *KeyValue, more=3 bool, count=4 int64",
    "PutRequest": "key=1 bytes, value=2 bytes, lease=3 int64",
    "PutResponse": "header=1 ResponseHeader",
    "DeleteRangeRequest": "key=1 bytes, range_end=2 bytes",
    "DeleteRangeResponse": "header=1 ResponseHeader, deleted=2 int64",
    "RequestOp": "request_put=2 PutRequest request, request_delete_range=3 DeleteRangeRequest request",
    "Compare": "result=1 int32, target=2 int32, key=3 bytes, create_revision=5 int64 union, mod_revision=6 int64 union, "
    "value=7 bytes union",
    "TxnRequest": "compare=1 *Compare, success=2 *RequestOp, failure=3 *RequestOp",
    "TxnResponse": "header=1 ResponseHeader, succeeded=2 bool",
    "WatchCreateRequest": "key=1 bytes, range_end=2 bytes, start_revision=3 int64, watch_id=7 int64, fragment=8 bool",
    "WatchProgressRequest": "",
    "WatchRequest": "create_request=1 WatchCreateRequest request, progress_request=3 WatchProgressRequest request",
    "WatchResponse": "header=1 ResponseHeader, watch_id=2 int64, created=3 bool, canceled=4 bool, "
    "compact_revision=5 int64, cancel_reason=6 string, fragment=7 bool, events=11 *Event",
    "LeaseGrantRequest": "TTL=1 int64, ID=2 int64",
    "LeaseGrantResponse": "header=1 ResponseHeader, ID=2 int64, TTL=3 int64",
    "LeaseRevokeRequest": "ID=1 int64",
    "LeaseRevokeResponse": "header=1 ResponseHeader",
    "LeaseKeepAliveRequest": "ID=1 int64",
    "LeaseKeepAliveResponse": "header=1 ResponseHeader, ID=2 int64, TTL=3 int64",
    "StatusRequest": "",
    "StatusResponse": "header=1 ResponseHeader, version=2 string, leader=4 uint64",
    "AuthenticateRequest": "name=1 string, password=2 string",
    "AuthenticateResponse": "header=1 ResponseHeader, token=2 string",
}

_PACKAGE = "etcdserverpb"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint64": _Field.TYPE_UINT64,
}

DELETE_EVENT = 1
EQUAL = 0
TARGET_CREATE, TARGET_MOD, TARGET_VALUE = 1, 2, 3


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="weft/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _TABLE.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split(", ")):
            _add_field(message, text)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    """`name=number type [oneof]`; a type with `*` is repeated."""
    assignment, kind, *oneof = text.split(" ")
    name, _, number = assignment.partition("=")
    label = _Field.LABEL_REPEATED if kind.startswith("*") else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    scalar = _SCALARS.get(kind.removeprefix("*"))
    if scalar is None:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind.removeprefix('*')}"
    else:
        field.type = scalar
    if oneof:
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof[0])
        field.oneof_index = 0


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_describe().SerializeToString())


def _class(name: str) -> Wire:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Compare = _class("Compare")
RequestOp = _class("RequestOp")
RangeRequest = _class("RangeRequest")
RangeResponse = _class("RangeResponse")
PutRequest = _class("PutRequest")
PutResponse = _class("PutResponse")
DeleteRangeRequest = _class("DeleteRangeRequest")
DeleteRangeResponse = _class("DeleteRangeResponse")
TxnRequest = _class("TxnRequest")
TxnResponse = _class("TxnResponse")
WatchCreateRequest = _class("WatchCreateRequest")
WatchProgressRequest = _class("WatchProgressRequest")
WatchRequest = _class("WatchRequest")
WatchResponse = _class("WatchResponse")
LeaseGrantRequest = _class("LeaseGrantRequest")
LeaseGrantResponse = _class("LeaseGrantResponse")
LeaseRevokeRequest = _class("LeaseRevokeRequest")
LeaseRevokeResponse = _class("LeaseRevokeResponse")
LeaseKeepAliveRequest = _class("LeaseKeepAliveRequest")
LeaseKeepAliveResponse = _class("LeaseKeepAliveResponse")
StatusRequest = _class("StatusRequest")
StatusResponse = _class("StatusResponse")
AuthenticateRequest = _class("AuthenticateRequest")
AuthenticateResponse = _class("AuthenticateResponse")


def range_end(prefix: bytes) -> bytes:
    """The first key after all that start with `prefix` (etcd: the prefix with its last byte below 0xff raised by one)."""
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] < 0xFF:
            return prefix[:index] + bytes([prefix[index] + 1])
    return b"\0"
