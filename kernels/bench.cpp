// SPDX-License-Identifier: Apache-2.0
#include "kernels/bench.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/cpu_scratch.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>

namespace bitlathe {

namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The shortest of the runs that fit in `budget` seconds, at least two (the first warms up).
Result<double> shortest(double budget, const Feedback* feedback,
                        const std::function<Result<void>()>& run) {
  double best = 1e30;
  const double start = seconds_now();
  for (int i = 0; i < 2 || seconds_now() - start < budget; ++i) {
    if (feedback && feedback->stopped())
      return cancelled_error();
    const double before = seconds_now();
    TRY(run());
    best = std::min(best, seconds_now() - before);
  }
  return best;
}

/// A weight matrix in every form the kernels take, larger than the caches of most processors.
struct Subject {
  static constexpr std::int64_t rows = 4096, cols = 4096, group = 128;
  std::vector<std::byte> bf16;
  std::vector<float> lo, hi, x, y;
  FloatView floats;

  Subject() : bf16(std::size_t(rows * cols * 2)), lo(std::size_t(rows * cols / group)), hi(lo) {
    parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        auto state = std::uint32_t(r) * 2654435761u + 12345u;
        for (std::int64_t c = 0; c < cols; ++c) {
          state = state * 1664525u + 1013904223u;
          store_float(FloatType::bf16, bf16.data(), r * cols + c,
                      (float(state >> 8) / 8388608.0f - 1.0f) * 0.05f);
        }
      }
    });
    floats = {FloatType::bf16, rows, cols, bf16};
  }
  double values() const { return double(rows * cols); }
};

struct Packed {
  std::vector<std::byte> codes, scales, zeros;
  std::vector<IntGrid> grids;
  MatrixView view;
};

IntSpec spec_of(int bits) { return {bits, Subject::group, false, false, FloatType::f16}; }

Result<void> pack(Compute& compute, Subject& s, int bits, Packed& p) {
  TRY(compute.group_ranges(s.floats, Subject::group, s.lo, s.hi));
  p.grids.resize(s.lo.size());
  p.scales.resize(s.lo.size() * 2);
  p.zeros.resize(s.lo.size());
  for (std::size_t i = 0; i < s.lo.size(); ++i) {
    p.grids[i] = make_int_grid(s.lo[i], s.hi[i], bits, false, FloatType::f16);
    store_float(FloatType::f16, p.scales.data(), std::int64_t(i), p.grids[i].scale);
    p.zeros[i] = std::byte(p.grids[i].zero);
  }
  p.codes.resize(std::size_t(Subject::rows * int_row_bytes(Subject::cols, bits)));
  TRY(compute.quantize_int(s.floats, spec_of(bits), p.grids, p.codes));
  p.view.layout = find_layout("int");
  p.view.rows = Subject::rows;
  p.view.cols = Subject::cols;
  p.view.bits = bits;
  p.view.group = Subject::group;
  p.view.symmetric = false;
  p.view.float_type = FloatType::f16;
  p.view.codes = p.codes;
  p.view.scales = p.scales;
  p.view.zeros = p.zeros;
  return {};
}

Result<void> pack_blocks(Compute& compute, Subject& s, std::string_view layout, Packed& p) {
  p.view.layout = find_layout(layout);
  p.view.rows = Subject::rows;
  p.view.cols = Subject::cols;
  p.codes.resize(std::size_t(Subject::rows * p.view.layout->row_bytes(p.view)));
  p.view.codes = p.codes;
  if (has_block_encoder(layout))
    return compute.quantize_blocks(s.floats, layout, {}, p.codes);
  std::uint32_t state = 1; // any codes will do; without the top bits every f16 scale is finite
  for (auto& byte : p.codes) {
    state = state * 1664525u + 1013904223u;
    byte = std::byte(state >> 26);
  }
  return {};
}

/// What one run of a kernel moves and computes; `run` is timed.
struct Work {
  double bytes = 0, operations = 0;
  bool int8 = false;
  std::function<Result<void>()> run;
  Packed packed;
  std::unique_ptr<LoadedMatrix> loaded;
  std::vector<std::uint64_t> counts;
};

using Prepare = std::function<Result<void>(Compute&, Subject&, Work&)>;

Result<void> moments(Compute& c, Subject& s, Work& w) {
  w.bytes = 2 * s.values();
  w.run = [&]() -> Result<void> {
    TRY(c.moments(s.floats));
    return {};
  };
  return {};
}

Result<void> histogram(Compute& c, Subject& s, Work& w) {
  w.bytes = 2 * s.values();
  w.counts.resize(512);
  w.run = [&] { return c.histogram(s.floats, -0.05f, 0.05f, w.counts); };
  return {};
}

Result<void> ranges(Compute& c, Subject& s, Work& w) {
  w.bytes = 2 * s.values();
  w.run = [&] { return c.group_ranges(s.floats, Subject::group, s.lo, s.hi); };
  return {};
}

template <int bits> Result<void> quantize(Compute& c, Subject& s, Work& w) {
  TRY(pack(c, s, bits, w.packed));
  w.bytes = 2 * s.values() + double(w.packed.codes.size());
  w.run = [&] { return c.quantize_int(s.floats, spec_of(bits), w.packed.grids, w.packed.codes); };
  return {};
}

Result<void> clip_search(Compute& c, Subject& s, Work& w) {
  TRY(pack(c, s, 4, w.packed));
  w.bytes = 2 * s.values();
  w.operations = 16 * 10 * s.values(); // ten operations to code, decode and square a difference
  w.run = [&] {
    const std::vector<std::vector<IntGrid>> candidates(16, w.packed.grids);
    std::vector<double> errors(16 * w.packed.grids.size());
    return c.int_errors(s.floats, spec_of(4), candidates, {}, errors);
  };
  return {};
}

Prepare blocks(std::string_view layout) {
  return [layout](Compute& c, Subject& s, Work& w) -> Result<void> {
    TRY(pack_blocks(c, s, layout, w.packed));
    w.bytes = 2 * s.values() + double(w.packed.codes.size());
    w.run = [&c, &s, &w, layout] {
      return c.quantize_blocks(s.floats, layout, {}, w.packed.codes);
    };
    return {};
  };
}

Result<void> error(Compute& c, Subject& s, Work& w) {
  TRY(pack(c, s, 4, w.packed));
  w.bytes = 2 * s.values() + double(w.packed.codes.size());
  w.run = [&]() -> Result<void> {
    TRY(c.error(s.floats, w.packed.view));
    return {};
  };
  return {};
}

Result<void> product(Compute& c, Subject& s, Work& w, std::int64_t tokens, bool int8) {
  if (!w.packed.view.layout) {
    w.packed.view.layout = find_layout("float");
    w.packed.view.rows = Subject::rows;
    w.packed.view.cols = Subject::cols;
    w.packed.view.float_type = FloatType::bf16;
    w.packed.view.codes = s.bf16;
  }
  TRY_ASSIGN(w.loaded, c.load(w.packed.view));
  s.x.assign(std::size_t(tokens * Subject::cols), 0.5f);
  s.y.resize(std::size_t(tokens * Subject::rows));
  w.bytes = double(w.packed.view.codes.size() + w.packed.scales.size() + w.packed.zeros.size());
  w.operations = 2.0 * double(tokens) * s.values();
  w.int8 = int8;
  w.run = [&c, &s, &w, tokens, int8] {
    return int8 ? c.matmul_int8(s.x.data(), tokens, *w.loaded, s.y.data())
                : c.matmul(s.x.data(), tokens, *w.loaded, s.y.data());
  };
  return {};
}

template <std::int64_t tokens> Result<void> product_bf16(Compute& c, Subject& s, Work& w) {
  return product(c, s, w, tokens, false);
}
template <int bits, std::int64_t tokens, bool int8>
Result<void> product_int(Compute& c, Subject& s, Work& w) {
  TRY(pack(c, s, bits, w.packed));
  return product(c, s, w, tokens, int8);
}
Prepare product_blocks(std::string_view layout, std::int64_t tokens) {
  return [layout, tokens](Compute& c, Subject& s, Work& w) -> Result<void> {
    TRY(pack_blocks(c, s, layout, w.packed));
    return product(c, s, w, tokens, false);
  };
}

struct Entry {
  std::string name;
  Prepare prepare;
};

std::vector<Entry> make_entries() {
  std::vector<Entry> out{
      {"moments", moments},
      {"histogram", histogram},
      {"group_ranges", ranges},
      {"quantize_int4", quantize<4>},
      {"quantize_int8", quantize<8>},
      {"clip_search_int4", clip_search},
      {"error_int4", error},
      {"generate_bf16", product_bf16<1>},
      {"generate_int8", product_int<8, 1, false>},
      {"generate_int4", product_int<4, 1, false>},
      {"generate_w8a8", product_int<8, 1, true>},
      {"prompt_bf16", product_bf16<256>},
      {"prompt_int4", product_int<4, 256, false>},
      {"prompt_q8_0", product_blocks("q8_0", 256)},
      {"prompt_q4_k", product_blocks("q4_k", 256)},
      {"prompt_w8a8", product_int<8, 256, true>},
  };
  for (const Layout* layout : all_layouts()) {
    if (has_block_encoder(layout->id))
      out.push_back({"quantize_" + std::string(layout->id), blocks(layout->id)});
    if (layout->block > 0)
      out.push_back({"generate_" + std::string(layout->id), product_blocks(layout->id, 1)});
  }
  return out;
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = make_entries();
  return all;
}

/// Tiles on data that stays in the first cache: nearly nothing but multiply-adds.
double arithmetic_rate(bool int8) {
  const cpu::Kernels& k = active_cpu_kernels();
  const int threads = thread_count();
  constexpr std::int64_t depth = 128, times = 2000;
  const auto run = [&] {
    parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (; begin < end; ++begin) {
        Scratch<float> panel(std::size_t(depth * k.tile_tokens)),
            w(std::size_t(depth * k.tile_rows)), c(std::size_t(k.tile_rows * k.tile_tokens));
        const std::array<float, 64> scale{};
        const std::array<std::int32_t, 64> zero{};
        std::memset(panel.data(), 0, panel.size() * 4);
        std::memset(w.data(), 0, w.size() * 4);
        std::memset(c.data(), 0, c.size() * 4);
        for (std::int64_t i = 0; i < times; ++i)
          if (int8)
            k.gemm_int8_tile(panel.data(), w.data(), depth, depth, k.tile_rows, k.tile_tokens,
                             scale.data(), zero.data(), zero.data(), c.data());
          else
            k.gemm_tile(panel.data(), w.data(), depth, depth, k.tile_rows, k.tile_tokens, c.data());
      }
    });
    return Result<void>();
  };
  const auto seconds = shortest(0.2, nullptr, run);
  return 2.0 * double(depth * k.tile_rows * k.tile_tokens) * double(times) * threads / *seconds /
         1e9;
}

double read_rate() {
  constexpr std::int64_t pieces = 64, piece = 1 << 20; // 256 MiB of floats
  std::vector<float> data(std::size_t(pieces * piece), 1.0f);
  const cpu::Kernels& k = active_cpu_kernels();
  std::vector<float> found(pieces);
  const auto seconds = shortest(0.3, nullptr, [&] {
    parallel_for(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (; begin < end; ++begin)
        found[std::size_t(begin)] = k.largest(data.data() + begin * piece, piece);
    });
    return Result<void>();
  });
  return double(pieces * piece) * 4 / *seconds / 1e9;
}

} // namespace

MachineSpeed measure_machine() {
  return {read_rate(), arithmetic_rate(false), arithmetic_rate(true), thread_count()};
}

std::vector<std::string_view> bench_kernel_names() {
  std::vector<std::string_view> names;
  for (const Entry& entry : entries())
    names.push_back(entry.name);
  return names;
}

Result<std::vector<KernelSpeed>> bench_kernels(Compute& compute, const MachineSpeed& machine,
                                               std::string_view only, double seconds_each,
                                               const Feedback* feedback) {
  const auto names = bench_kernel_names();
  if (!only.empty() && std::find(names.begin(), names.end(), only) == names.end()) {
    std::string known;
    for (const auto name : names)
      known += (known.empty() ? "" : ", ") + std::string(name);
    return Error{
        "bad-argument", "There is no kernel \"" + std::string(only) + "\"; there are " + known, {}};
  }
  Subject subject;
  std::vector<KernelSpeed> speeds;
  for (const Entry& entry : entries()) {
    if (!only.empty() && entry.name != only)
      continue;
    Work work;
    TRY(entry.prepare(compute, subject, work));
    TRY_ASSIGN(const double seconds, shortest(seconds_each, feedback, work.run));
    KernelSpeed speed{entry.name, compute.device().backend};
    speed.gb_per_s = work.bytes / seconds / 1e9;
    speed.gflops = work.operations / seconds / 1e9;
    if (speed.backend == "cpu") {
      const double rate = work.int8 ? machine.int8_gops : machine.gflops;
      speed.fraction_of_peak =
          std::max(machine.memory_gb_per_s > 0 ? speed.gb_per_s / machine.memory_gb_per_s : 0,
                   rate > 0 ? speed.gflops / rate : 0);
    }
    speeds.push_back(std::move(speed));
  }
  return speeds;
}

} // namespace bitlathe
