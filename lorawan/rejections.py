"""Why a frame is not accepted."""

from enum import StrEnum


class RejectReason(StrEnum):
    """Of data frames and of join-requests: as counted, stored and asked for."""

    MIC = "mic"
    """Of a data frame: no counter that its session could expect makes the MIC right, most likely it is another
    device's. Of a join-request: the device has another key than the registered one."""
    REPLAY = "replay"
    """The MIC is right for a counter already passed: a replay, or a device that restarted its counter."""
    SAME_F_CNT = "same_f_cnt"
    """The MIC is right for the last accepted counter, and the octets differ."""
    UNKNOWN_DEV_ADDR = "unknown_dev_addr"
    """No open session has this DevAddr."""
    DISABLED = "disabled"
    """The device is disabled."""
    MALFORMED = "malformed"
    IGNORED = "ignored"
    """No message from a device to the network: a join-accept or a downlink, overheard; a proprietary frame."""

    UNKNOWN_DEVICE = "unknown_device"
    """No device has this DevEUI."""
    NOT_OTAA = "not_otaa"
    """The device is registered without a root key."""
    WRONG_KEK = "wrong_kek"
    """Another key-encryption key wrapped its root key."""
    DEV_NONCE_USED = "dev_nonce_used"
    DEV_NONCE_NOT_INCREASING = "dev_nonce_not_increasing"
    JOIN_NONCE_USED_UP = "join_nonce_used_up"
    DEVICE_FLOOD = "device_flood"
    """The device asked too often within a short time."""
    GATEWAY_FLOOD = "gateway_flood"
    """So did the gateways that received it."""
    LATE = "late"
    """Nobody listens for the answer any more."""
