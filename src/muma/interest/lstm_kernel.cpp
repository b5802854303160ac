// The loops of lstm_function.py and lstm_function_short.py for the CPU: the same sums in fewer passes.
//
// A step is one product by the state's weights and one pass over its values, row by row, so that a
// row stays in the first cache. Shapes: T events, B users, H width, G = 4 H; gates i, f, o, g. `fade`
// is [T, B, 1] or [T, B, H]: the factor on the output, or, where there is a matrix V, [T, B, 1]: the
// share of the short-term part of the cell that is lost.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;
using Maybe = std::optional<Tensor>;
constexpr int64_t kGrain = 16;  // rows that are worth a thread

// Cephes: e^x = 2^n e^r with |r| <= ln 2 / 2. Plain arithmetic, which a compiler turns into vectors.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  uint32_t bits, zero;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&zero, &magic, sizeof zero);
  bits = (bits - zero + 127u) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return y * power;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double hyperbolic(double x) { return std::tanh(x); }

inline float hyperbolic(float x) {
  const float far = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
  const float z = x * x;
  float y = -5.70498872745e-3f;
  y = y * z + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  const float near = y * z * x + x;
  return std::fabs(x) < 0.625f ? near : far;
}

template <typename S>
S* at_step(const Tensor& tensor, int64_t t) {
  return tensor.data_ptr<S>() + t * tensor.size(1) * tensor.size(2);
}

template <typename S>
void forward_row(S* gate, const S* before, S* after, S* tanh_c, S* h, int64_t width) {
  S *i = gate, *f = gate + width, *o = gate + 2 * width, *g = gate + 3 * width;
#pragma omp simd
  for (int64_t j = 0; j < 3 * width; ++j) gate[j] = sigmoid(gate[j]);
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) {
    g[j] = hyperbolic(g[j]);
    after[j] = f[j] * before[j] + i[j] * g[j];
    tanh_c[j] = hyperbolic(after[j]);
    h[j] = o[j] * tanh_c[j];
  }
}

template <typename S>
void fade_row(S* value, const S* fade, int64_t width, bool each) {
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) value[j] *= each ? fade[j] : fade[0];
}

template <typename S>
void forward_steps(const Tensor& gate, const Tensor& u, const Maybe& fade, const Maybe& v,
                   const Tensor& h, const Tensor& c, const Tensor& tanh_c, const Tensor& kept,
                   const Tensor& brief) {
  const int64_t steps = h.size(0), batch = h.size(1), width = h.size(2);
  const int64_t last = fade ? fade->size(2) : 0;
  const Tensor by_h = u.t().contiguous();
  const Tensor by_c = v ? v->t().contiguous() : Tensor();
  for (int64_t t = 0; t < steps; ++t) {
    if (t) gate.select(0, t).addmm_(h.select(0, t - 1), by_h);
    if (v) brief.select(0, t).addmm_(c.select(0, t), by_c, 0);
    S *gates = at_step<S>(gate, t), *was = at_step<S>(c, t), *is = at_step<S>(c, t + 1);
    S *bent = at_step<S>(tanh_c, t), *out = at_step<S>(h, t);
    S *left = v ? at_step<S>(kept, t) : was, *part = v ? at_step<S>(brief, t) : nullptr;
    const S* fades = fade ? at_step<S>(*fade, t) : nullptr;
    at::parallel_for(0, batch, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t row = b * width;
        if (part) {
          const S lost = fades[b];
#pragma omp simd
          for (int64_t j = row; j < row + width; ++j) {
            part[j] = hyperbolic(part[j]);
            left[j] = was[j] - part[j] * lost;
          }
        }
        forward_row(gates + 4 * row, left + row, is + row, bent + row, out + row, width);
        if (fades && !part) fade_row(out + row, fades + b * last, width, last > 1);
      }
    });
  }
}

template <typename S>
void backward_row(const S* gate, const S* before, const S* tanh_c, const S* grad, S* grad_c,
                  S* slope, int64_t width) {
  const S *i = gate, *f = gate + width, *o = gate + 2 * width, *g = gate + 3 * width;
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) {
    const S total = grad_c[j] + grad[j] * o[j] * (1 - tanh_c[j] * tanh_c[j]);
    slope[j] = total * g[j] * i[j] * (1 - i[j]);
    slope[width + j] = total * before[j] * f[j] * (1 - f[j]);
    slope[2 * width + j] = grad[j] * tanh_c[j] * o[j] * (1 - o[j]);
    slope[3 * width + j] = total * i[j] * (1 - g[j] * g[j]);
    grad_c[j] = total * f[j];
  }
}

template <typename S>
void backward_steps(const Tensor& grad_h, const Tensor& gate, const Tensor& before,
                    const Tensor& tanh_c, const Tensor& u, const Maybe& fade, const Maybe& v,
                    const Maybe& brief, const Tensor& slope, const Tensor& grad_brief,
                    const Maybe& grad_fade) {
  const int64_t steps = grad_h.size(0), batch = grad_h.size(1), width = grad_h.size(2);
  const int64_t last = fade ? fade->size(2) : 0;
  const Tensor grad_c = at::zeros({batch, width}, grad_h.options());
  S* cell = grad_c.data_ptr<S>();
  for (int64_t t = steps - 1; t >= 0; --t) {
    S *grads = at_step<S>(grad_h, t), *slopes = at_step<S>(slope, t);
    const S *gates = at_step<S>(gate, t), *was = at_step<S>(before, t);
    const S* bent = at_step<S>(tanh_c, t);
    const S *fades = fade ? at_step<S>(*fade, t) : nullptr, *part = v ? at_step<S>(*brief, t) : nullptr;
    S* by_part = v ? at_step<S>(grad_brief, t) : nullptr;
    S* by_fade = grad_fade ? at_step<S>(*grad_fade, t) : nullptr;
    at::parallel_for(0, batch, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t row = b * width;
        const S* o = gates + 4 * row + 2 * width;
        if (by_fade && !part) {
          S sum = 0;
          for (int64_t j = 0; j < width; ++j) {
            const S value = grads[row + j] * o[j] * bent[row + j];
            if (last > 1) by_fade[row + j] = value;
            sum += value;
          }
          if (last == 1) by_fade[b] = sum;
        }
        if (fades && !part) fade_row(grads + row, fades + b * last, width, last > 1);
        backward_row(gates + 4 * row, was + row, bent + row, grads + row, cell + row,
                     slopes + 4 * row, width);
        if (!part) continue;
        S sum = 0;
        for (int64_t j = row; j < row + width; ++j) {
          by_part[j] = -fades[b] * cell[j] * (1 - part[j] * part[j]);
          sum -= cell[j] * part[j];
        }
        if (by_fade) by_fade[b] = sum;
      }
    });
    if (t) grad_h.select(0, t - 1).addmm_(slope.select(0, t), u);
    if (v && t) grad_c.addmm_(grad_brief.select(0, t), *v);
  }
}

// Gates [T, B, G] before their functions (changed in place) -> h, cells [T + 1, B, H], tanh of the
// cells and, with V, what is kept of the cells and their short-term parts.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(
    const Tensor& gate, const Tensor& u, const Maybe& fade, const Maybe& v) {
  const int64_t steps = gate.size(0), batch = gate.size(1), width = u.size(1);
  const Tensor h = at::empty({steps, batch, width}, gate.options());
  const Tensor c = at::empty({steps + 1, batch, width}, gate.options());
  c.select(0, 0).zero_();
  const Tensor tanh_c = at::empty_like(h);
  const Tensor kept = v ? at::empty_like(h) : at::empty({0}, gate.options());
  const Tensor brief = v ? at::zeros_like(h) : at::empty({0}, gate.options());
  if (gate.scalar_type() == at::kDouble)
    forward_steps<double>(gate, u, fade, v, h, c, tanh_c, kept, brief);
  else
    forward_steps<float>(gate, u, fade, v, h, c, tanh_c, kept, brief);
  return {h, c, tanh_c, kept, brief};
}

// Gradient of h (changed in place), what `forward` left -> slopes of the gates, of the short-term
// parts, and of `fade` where it is asked for.
std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad_h, const Tensor& gate,
                                            const Tensor& before, const Tensor& tanh_c,
                                            const Tensor& u, const Maybe& fade, const Maybe& v,
                                            const Maybe& brief, bool wants_fade) {
  const Tensor slope = at::empty_like(gate);
  const Tensor grad_brief = v ? at::empty_like(grad_h) : at::empty({0}, gate.options());
  const Maybe grad_fade = wants_fade ? Maybe(at::empty_like(*fade)) : std::nullopt;
  if (gate.scalar_type() == at::kDouble)
    backward_steps<double>(grad_h, gate, before, tanh_c, u, fade, v, brief, slope, grad_brief,
                           grad_fade);
  else
    backward_steps<float>(grad_h, gate, before, tanh_c, u, fade, v, brief, slope, grad_brief,
                          grad_fade);
  return {slope, grad_brief, grad_fade ? *grad_fade : at::empty({0}, gate.options())};
}

}  // namespace

TORCH_LIBRARY(muma, m) {
  m.def("lstm_forward", &forward);
  m.def("lstm_backward", &backward);
}
