// SPDX-License-Identifier: GPL-3.0-or-later
// What is fuzzed: one function per parser that takes any bytes. The libFuzzer programs and the
// test suite, which replays corpus/NAME, both call these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace bitlathe::fuzz {

void safetensors(std::string_view input);
void gguf(std::string_view input);
void onnx(std::string_view input);
void tokenizer(std::string_view input);
void chat_template(std::string_view input);

/// A folder in memory of this process, made once; `name` in it is written anew.
std::filesystem::path scratch_file(std::string_view name, std::string_view content);

} // namespace bitlathe::fuzz

/// The entry of a libFuzzer program.
#ifdef BITLATHE_FUZZER
#define BITLATHE_FUZZ_ENTRY(function)                                                              \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {              \
    bitlathe::fuzz::function({reinterpret_cast<const char*>(data), size});                         \
    return 0;                                                                                      \
  }
#else
#define BITLATHE_FUZZ_ENTRY(function)
#endif
