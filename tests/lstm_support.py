"""The recurrences as plain loops under autograd, random inputs for them, and how two are compared."""

import torch

FORMS = ["none", "one", "each", "short"]


def loop(x_TBI, w_GI, u_GH, b_G, factor):
    """Eq. (6), one operation after the other."""
    h = c = x_TBI.new_zeros(x_TBI.shape[1], u_GH.shape[1])
    found = []
    for t, x_BI in enumerate(x_TBI):
        i, f, o, g = (x_BI @ w_GI.T + h @ u_GH.T + b_G).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        if factor is not None:
            h = h * factor[t]
        found.append(h)
    return torch.stack(found)


def short_loop(x_TBI, w_GI, u_GH, b_G, v_HH, loss_TB1):
    """Baytas et al., one operation after the other."""
    h = c = x_TBI.new_zeros(x_TBI.shape[1], u_GH.shape[1])
    found = []
    for t, x_BI in enumerate(x_TBI):
        short = torch.tanh(c @ v_HH.T)
        c = (c - short) + short * (1.0 - loss_TB1[t])
        i, f, o, g = (x_BI @ w_GI.T + h @ u_GH.T + b_G).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append(h)
    return torch.stack(found)


def inputs(form, steps, users, width_in, width, dtype, seed=0):
    """Random inputs of a recurrence, all of which want a gradient."""
    make = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (torch.randn(*shape, generator=make, dtype=dtype) * scale).requires_grad_()

    scale = width**-0.5
    weights = [
        normal(steps, users, width_in),
        normal(4 * width, width_in, scale=scale),
        normal(4 * width, width, scale=scale),
        normal(4 * width),
    ]
    last = {"none": 0, "one": 1, "each": width, "short": 1}[form]
    share = torch.rand(steps, users, last, generator=make, dtype=dtype).requires_grad_()
    if form == "short":
        return [*weights, normal(width, width, scale=scale), share]
    return [*weights, None if form == "none" else share]


def assert_equal(fast, slow, given_, tolerance):
    """Outputs and all gradients agree, relative to the largest of each."""
    found, expected = fast(*given_), slow(*given_)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    wanted = [value for value in given_ if value is not None]
    results = [
        [result, *torch.autograd.grad((result * weight).sum(), wanted, allow_unused=True)]
        for result in (found, expected)
    ]
    for one, other in zip(*results, strict=True):
        two = torch.zeros_like(one) if other is None else other
        scale = max(1.0, two.abs().max().item())
        assert (one - two).abs().max().item() <= tolerance * scale
