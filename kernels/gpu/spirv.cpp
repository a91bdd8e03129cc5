// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/spirv.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>

namespace bitlathe {

namespace {

// Numbers of the SPIR-V specification.
enum Op : std::uint32_t {
  op_extension = 10,
  op_ext_import = 11,
  op_entry_point = 15,
  op_execution_mode = 16,
  op_capability = 17,
  op_type_int = 21,
  op_type_float = 22,
  op_type_vector = 23,
  op_type_struct = 30,
  op_type_pointer = 32,
  op_variable = 59,
  op_decorate = 71,
  op_member_decorate = 72,
};
constexpr std::uint32_t mode_local_size = 17, decoration_spec_id = 1, decoration_binding = 33,
                        decoration_set = 34, decoration_offset = 35, storage_buffer = 12,
                        storage_uniform = 2, storage_push_constant = 9, capability_float64 = 10,
                        capability_dot = 6019;
constexpr std::size_t header_words = 5;

struct Instruction {
  std::uint32_t op;
  std::span<const std::uint32_t> args;
  std::size_t at; ///< index of its first word
};

/// Calls f for every instruction; false when the stream is malformed.
template <class F> bool each_instruction(std::span<const std::uint32_t> words, F f) {
  if (words.size() < header_words || words[0] != 0x07230203u)
    return false;
  for (std::size_t i = header_words; i < words.size();) {
    const std::size_t n = words[i] >> 16;
    if (n == 0 || i + n > words.size())
      return false;
    f(Instruction{words[i] & 0xffffu, words.subspan(i + 1, n - 1), i});
    i += n;
  }
  return true;
}

} // namespace

Result<SpirvInterface> reflect_spirv(std::span<const std::uint32_t> words, std::string_view name) {
  SpirvInterface out;
  std::map<std::uint32_t, std::uint32_t> type_bytes, binding_of, set_of, pointee;
  std::map<std::uint32_t, std::vector<std::uint32_t>> members;
  std::map<std::uint32_t, std::map<std::uint32_t, std::uint32_t>> offsets;
  std::uint32_t binding_mask = 0, constant_mask = 0;
  std::string bad;
  const bool whole = each_instruction(words, [&](const Instruction& in) {
    const auto& a = in.args;
    switch (in.op) {
    case op_capability:
      out.uses_float64 |= a[0] == capability_float64;
      out.uses_packed_dot |= a[0] == capability_dot;
      break;
    case op_execution_mode:
      if (a.size() == 5 && a[1] == mode_local_size)
        out.workgroup_size = a[2] * a[3] * a[4];
      break;
    case op_decorate:
      if (a[1] == decoration_binding)
        binding_of[a[0]] = a[2];
      else if (a[1] == decoration_set)
        set_of[a[0]] = a[2];
      else if (a[1] == decoration_spec_id)
        constant_mask |= a[2] < 32 ? 1u << a[2] : 0;
      break;
    case op_member_decorate:
      if (a[2] == decoration_offset)
        offsets[a[0]][a[1]] = a[3];
      break;
    case op_type_int:
    case op_type_float:
      type_bytes[a[0]] = a[1] / 8;
      break;
    case op_type_vector:
      type_bytes[a[0]] = type_bytes[a[1]] * a[2];
      break;
    case op_type_struct:
      members[a[0]].assign(a.begin() + 1, a.end());
      break;
    case op_type_pointer:
      pointee[a[0]] = a[2];
      break;
    case op_variable:
      if (a[2] == storage_buffer || (a[2] == storage_uniform && binding_of.count(a[1]))) {
        if (set_of[a[1]] != 0 || binding_of[a[1]] >= 32)
          bad = "uses a descriptor outside set 0, bindings 0 to 31";
        else
          binding_mask |= 1u << binding_of[a[1]];
      } else if (a[2] == storage_push_constant) {
        const std::uint32_t block = pointee[a[0]];
        for (std::uint32_t m = 0; m < members[block].size(); ++m)
          out.push_bytes =
              std::max(out.push_bytes, offsets[block][m] + type_bytes[members[block][m]]);
      }
      break;
    default:
      break;
    }
  });
  // Both must be gapless from 0 for the simple calling convention of GpuDispatch.
  const auto count = [&bad](std::uint32_t mask, const char* what) -> std::uint32_t {
    if (mask & (mask + 1))
      bad = std::string("numbers its ") + what + " with gaps";
    std::uint32_t n = 0;
    for (; mask; mask >>= 1)
      ++n;
    return n;
  };
  out.bindings = count(binding_mask, "bindings");
  out.constants = count(constant_mask, "specialisation constants");
  if (!whole)
    bad = "is not SPIR-V";
  else if (out.push_bytes > 128)
    bad = "has more than 128 bytes of push constants";
  else if (out.workgroup_size == 0 || out.workgroup_size > 256)
    bad = "has a workgroup size outside 1 to 256";
  if (!bad.empty())
    return Error{"internal", "A compute shader " + bad, std::string(name)};
  return out;
}

std::vector<std::uint32_t> with_float_controls(std::span<const std::uint32_t> words,
                                               const FloatControls& controls) {
  std::size_t after_capabilities = header_words, after_modes = 0;
  std::uint32_t entry = 0;
  bool float64 = false;
  each_instruction(words, [&](const Instruction& in) {
    const std::size_t end = in.at + in.args.size() + 1;
    if (in.op == op_capability) {
      after_capabilities = end;
      float64 |= in.args[0] == capability_float64;
    }
    if (in.op == op_entry_point || in.op == op_execution_mode)
      after_modes = end;
    if (in.op == op_entry_point)
      entry = in.args[1];
  });
  struct Mode {
    std::uint32_t capability, mode, width;
  };
  std::vector<Mode> modes;
  if (controls.keep_subnormals)
    modes.push_back({4464, 4459, 32}); // DenormPreserve
  if (controls.keep_nan)
    modes.push_back({4466, 4461, 32}); // SignedZeroInfNanPreserve
  if (controls.nearest_even)
    modes.push_back({4467, 4462, 32}); // RoundingModeRTE
  if (controls.nearest_even_64 && float64)
    modes.push_back({4467, 4462, 64});
  const auto at = [&words](std::size_t i) { return words.begin() + std::ptrdiff_t(i); };
  if (modes.empty() || after_modes == 0)
    return {words.begin(), words.end()};

  std::vector<std::uint32_t> out(at(0), at(after_capabilities));
  std::uint32_t last_capability = 0;
  for (const Mode& m : modes) {
    if (m.capability != last_capability)
      out.insert(out.end(), {2u << 16 | op_capability, m.capability});
    last_capability = m.capability;
  }
  const char extension[24] = "SPV_KHR_float_controls"; // padded with zeros to whole words
  out.push_back((1u + sizeof(extension) / 4) << 16 | op_extension);
  out.resize(out.size() + sizeof(extension) / 4);
  std::memcpy(out.data() + out.size() - sizeof(extension) / 4, extension, sizeof(extension));
  out.insert(out.end(), at(after_capabilities), at(after_modes));
  for (const Mode& m : modes)
    out.insert(out.end(), {4u << 16 | op_execution_mode, entry, m.mode, m.width});
  out.insert(out.end(), at(after_modes), words.end());
  return out;
}

} // namespace bitlathe
