"""The kernels of :mod:`cft.model.short_attention`; ``R`` counts queries of a tile, ``C`` its keys.

A tile of queries holds ``STACK`` heads one below the other. Pointers are moved to the first token
of the text and the first head; what is left is counted in 32 bits.
"""

import triton
import triton.language as tl

_LOG2E = tl.constexpr(1.4426950408889634)  # exponents of two are what the chip computes
_NEVER = tl.constexpr(-1e30)  # where infinity would leave a row without a number


@triton.jit
def _tile(x, place_R, real_R, column):
    """Rows of heads, zero where there is no token."""
    return tl.load(x + place_R[:, None] + column[None, :], mask=real_R[:, None], other=0.0)


@triton.jit
def _keys(k, v, k_token, v_token, seen, length, column):
    """A tile of keys and of their values."""
    real = seen < length
    return _tile(k, seen * k_token, real, column), _tile(v, seen * v_token, real, column)


@triton.jit
def _put(x, place_R, real_R, column, made_RD):
    """Rows of heads to where they belong, none where there is no token."""
    made_RD = made_RD.to(x.dtype.element_ty)
    tl.store(x + place_R[:, None] + column[None, :], made_RD, mask=real_R[:, None])


@triton.jit
def forward(
    q, k, v, out, sums, borders, scale,
    q_token, q_head, k_token, k_head, v_token, v_head,
    HEADS: tl.constexpr, GROUPS: tl.constexpr, SHARED: tl.constexpr, WIDTH: tl.constexpr,
    TILE: tl.constexpr, STACK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    text, stack = tl.program_id(0) // (HEADS // STACK), tl.program_id(0) % (HEADS // STACK)
    head = stack * STACK
    group = head // SHARED
    start = tl.load(borders + text)
    length = tl.load(borders + text + 1) - start
    begin = start.to(tl.int64)
    q += begin * q_token + head * q_head
    k += begin * k_token + group * k_head
    v += begin * v_token + group * v_head
    out += (begin * HEADS + head) * WIDTH
    sums += begin * HEADS + head
    line, column = tl.arange(0, TILE), tl.arange(0, WIDTH)
    stacked = tl.arange(0, TILE * STACK)
    one = stacked // TILE
    for first in range(0, length, TILE):
        row = first + stacked % TILE
        real = row < length
        q_RD = _tile(q, row * q_token + one * q_head, real, column)
        top_R = tl.full((TILE * STACK,), _NEVER, tl.float32)
        sum_R = tl.zeros((TILE * STACK,), tl.float32)
        mixed_RD = tl.zeros((TILE * STACK, WIDTH), tl.float32)
        end = tl.minimum(first + TILE, length) if CAUSAL else length
        for at in range(0, end, TILE):
            seen = at + line
            k_CD, v_CD = _keys(k, v, k_token, v_token, seen, length, column)
            score_RC = tl.dot(q_RD, tl.trans(k_CD)) * (scale * _LOG2E)
            allowed = (seen < length)[None, :]
            if CAUSAL:
                allowed = allowed & (seen[None, :] <= row[:, None])
            score_RC = tl.where(allowed, score_RC, _NEVER)
            new_R = tl.maximum(top_R, tl.max(score_RC, 1))
            p_RC = tl.exp2(score_RC - new_R[:, None])
            shrink_R = tl.exp2(top_R - new_R)
            sum_R = sum_R * shrink_R + tl.sum(p_RC, 1)
            mixed_RD = mixed_RD * shrink_R[:, None] + tl.dot(p_RC.to(v_CD.dtype), v_CD)
            top_R = new_R
        mixed_RD = mixed_RD / sum_R[:, None]
        flat = row * HEADS + one
        _put(out, flat * WIDTH, real, column, mixed_RD)
        tl.store(sums + flat, top_R + tl.log2(sum_R), mask=real)


@triton.jit
def _pull(
    k_CD, v_CD, q, grad, out, sums, q_place_R, g_place_R, flat_R, row, seen, length, column, scale,
    WIDTH: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """What a tile of queries pulls at one of keys: probabilities, and gradients of the scores."""
    real = row < length
    q_RD = _tile(q, q_place_R, real, column)
    g_RD = _tile(grad, g_place_R, real, column)
    o_RD = _tile(out, flat_R * WIDTH, real, column)
    own_R = tl.sum(o_RD.to(tl.float32) * g_RD.to(tl.float32), 1)
    sums_R = tl.load(sums + flat_R, mask=real, other=0.0)
    score_CR = tl.dot(k_CD, tl.trans(q_RD)) * (scale * _LOG2E)
    allowed = (seen < length)[:, None] & real[None, :]
    if CAUSAL:
        allowed = allowed & (seen[:, None] <= row[None, :])
    p_CR = tl.where(allowed, tl.exp2(score_CR - sums_R[None, :]), 0.0)
    ds_CR = p_CR * (tl.dot(v_CD, tl.trans(g_RD)) - own_R[None, :]) * scale
    return q_RD, g_RD, p_CR.to(q_RD.dtype), ds_CR.to(q_RD.dtype)


@triton.jit
def backward(
    grad, q, k, v, out, sums, borders, gq, gk, gv, scale,
    g_token, g_head, q_token, q_head, k_token, k_head, v_token, v_head,
    HEADS: tl.constexpr, GROUPS: tl.constexpr, SHARED: tl.constexpr, WIDTH: tl.constexpr,
    TILE: tl.constexpr, STACK: tl.constexpr, SHARES: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    group, rest = tl.program_id(0) % GROUPS, tl.program_id(0) // GROUPS
    text, share = rest // SHARES, rest % SHARES
    start = tl.load(borders + text)
    length = tl.load(borders + text + 1) - start
    begin = start.to(tl.int64)
    k += begin * k_token + group * k_head
    v += begin * v_token + group * v_head
    gk += (begin * GROUPS + group) * WIDTH
    gv += (begin * GROUPS + group) * WIDTH
    head = group * SHARED
    q += begin * q_token + head * q_head
    grad += begin * g_token + head * g_head
    out += (begin * HEADS + head) * WIDTH
    gq += (begin * HEADS + head) * WIDTH
    sums += begin * HEADS + head
    line, column = tl.arange(0, TILE), tl.arange(0, WIDTH)
    stacked = tl.arange(0, TILE * STACK)
    # Keys and values: each tile of them is looked at by the queries of every head that shares it.
    for at in range(share * TILE, length, SHARES * TILE):
        seen = at + line
        k_CD, v_CD = _keys(k, v, k_token, v_token, seen, length, column)
        gk_CD = tl.zeros((TILE, WIDTH), tl.float32)
        gv_CD = tl.zeros((TILE, WIDTH), tl.float32)
        for heads in range(0, SHARED, STACK):
            one = heads + stacked // TILE
            for first in range(at if CAUSAL else 0, length, TILE):
                row = first + stacked % TILE
                flat = row * HEADS + one
                q_RD, g_RD, p_CR, ds_CR = _pull(
                    k_CD, v_CD, q, grad, out, sums, row * q_token + one * q_head,
                    row * g_token + one * g_head, flat, row, seen, length, column, scale, WIDTH,
                    CAUSAL,
                )  # fmt: skip
                gv_CD += tl.dot(p_CR, g_RD)
                gk_CD += tl.dot(ds_CR, q_RD)
                if length <= TILE:
                    gq_RD = tl.dot(tl.trans(ds_CR), k_CD)
                    _put(gq, flat * WIDTH, row < length, column, gq_RD)
        _put(gk, seen * (GROUPS * WIDTH), seen < length, column, gk_CD)
        _put(gv, seen * (GROUPS * WIDTH), seen < length, column, gv_CD)
    # Queries of more than one tile: the sum runs over tiles of keys, so it has a turn of its own.
    if length > TILE:
        for heads in range(0, SHARED, STACK):
            one = heads + stacked // TILE
            for first in range(share * TILE, length, SHARES * TILE):
                row = first + stacked % TILE
                flat = row * HEADS + one
                gq_RD = tl.zeros((TILE * STACK, WIDTH), tl.float32)
                end = tl.minimum(first + TILE, length) if CAUSAL else length
                for at in range(0, end, TILE):
                    seen = at + line
                    k_CD, v_CD = _keys(k, v, k_token, v_token, seen, length, column)
                    _, _, _, ds_CR = _pull(
                        k_CD, v_CD, q, grad, out, sums, row * q_token + one * q_head,
                        row * g_token + one * g_head, flat, row, seen, length, column, scale, WIDTH,
                        CAUSAL,
                    )  # fmt: skip
                    gq_RD += tl.dot(tl.trans(ds_CR), k_CD)
                _put(gq, flat * WIDTH, row < length, column, gq_RD)
