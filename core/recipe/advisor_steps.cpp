// SPDX-License-Identifier: Apache-2.0
#include "core/recipe/advisor_steps.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr std::string_view eight = "8-bit codes lose hardly anything and halve a 16-bit model",
                           four = "4 bits are a quarter of a 16-bit model and what servers have "
                                  "fast kernels for",
                           small_groups =
                               "groups of 32 give every 32 weights a scale of their own, "
                               "so that outliers spoil less",
                           three = "3 bits lose visibly; calibration keeps the loss in bounds",
                           two = "2 bits are for those who have no other choice",
                           mix_8 = "8.5 bits per weight: hardly any loss",
                           mix_6 = "6.6 bits per weight: close to 8 bits",
                           mix_5 = "5.5 bits per weight, more where it matters: a small loss",
                           mix_4 = "4.5 bits per weight, 6.6 for values and down projections of "
                                   "some layers: the usual balance of size and quality",
                           mix_iq4 = "4.25 bits per weight on a table of uneven values",
                           mix_3 = "3.4 bits per weight, more where it matters: the smallest that "
                                   "usually stays usable",
                           mix_2 = "2.6 bits per weight: a heavy loss";

// GGUF: mixes of llama.cpp.
constexpr AdviceStep gguf_steps[] = {
    {"Q8_0", "rtn", "rtn", mix_8},     {"Q6_K", "rtn", "rtn", mix_6},
    {"Q5_K_M", "rtn", "rtn", mix_5},   {"Q4_K_M", "rtn", "rtn", mix_4},
    {"IQ4_XS", "rtn", "rtn", mix_iq4}, {"Q3_K_M", "rtn", "rtn", mix_3},
    {"Q3_K_S", "rtn", "rtn", mix_3},   {"Q2_K", "rtn", "rtn", mix_2},
    {"Q2_K_S", "rtn", "", mix_2},
};
constexpr std::size_t gguf_8 = 0, gguf_5 = 2, gguf_4 = 3, gguf_3 = 5;
/// Blocks of 32 columns, for models whose rows divide by no 256.
constexpr AdviceStep gguf_plain_steps[] = {
    {"q8_0", "rtn", "rtn", mix_8},
    {"q5_1", "rtn", "rtn", mix_5},
    {"q4_1", "rtn", "rtn", four},
    {"q4_0", "rtn", "rtn", four},
};

constexpr AdviceStep compressed_quick[] = {
    {"int8-channel-sym", "rtn", "rtn", eight},
    {"int4-g128-asym", "mse", "mse", four},
    {"int4-g128-sym", "mse", "mse", four},
};
constexpr AdviceStep compressed_quality[] = {
    {"int4-g32-asym", "gptq", "mse", small_groups, "int8-g32-asym"},
    {"int4-g32-asym", "gptq", "mse", small_groups},
    {"int4-g32-sym", "gptq", "mse", small_groups},
    {"int4-g128-asym", "gptq", "mse", four},
    {"int4-g128-sym", "gptq", "mse", four},
    {"int4-channel-sym", "gptq", "mse", four},
    {"int8-channel-sym", "rtn", "rtn", eight},
};
constexpr AdviceStep compressed_smallest[] = {
    {"int8-channel-sym", "rtn", "rtn", eight}, {"int4-g32-asym", "gptq", "mse", small_groups},
    {"int4-g128-asym", "gptq", "mse", four},   {"int4-g128-sym", "gptq", "mse", four},
    {"int4-channel-sym", "gptq", "mse", four},
};

constexpr AdviceStep gptq_quick[] = {
    {"int8-g128-sym", "rtn", "rtn", eight},
    {"int8-g32-sym", "rtn", "rtn", eight},
    {"int8-channel-sym", "rtn", "rtn", eight},
    {"int4-g128-sym", "mse", "mse", four},
};
constexpr AdviceStep gptq_quality[] = {
    {"int4-g32-sym", "gptq", "mse", small_groups, "int8-g32-sym", {}, true},
    {"int4-g32-sym", "gptq", "mse", small_groups, {}, {}, true},
    {"int4-g128-sym", "gptq", "mse", four, {}, {}, true},
    {"int4-channel-sym", "gptq", "mse", four},
};
constexpr AdviceStep gptq_smallest[] = {
    {"int8-g128-sym", "rtn", "rtn", eight},
    {"int4-g32-sym", "gptq", "mse", small_groups, {}, {}, true},
    {"int4-g128-sym", "gptq", "mse", four, {}, {}, true},
    {"int4-channel-sym", "gptq", "mse", four},
    {"int3-g128-sym", "gptq", "", three, {}, {}, true},
    {"int3-channel-sym", "gptq", "", three},
    {"int2-g64-sym", "gptq", "", two, {}, {}, true},
    {"int2-channel-sym", "gptq", "", two},
};

constexpr AdviceStep mlx_steps[] = {
    {"int8-g64-asym", "rtn", "rtn", eight},
    {"int8-g32-asym", "rtn", "rtn", eight},
    {"int6-g64-asym", "mse", "mse", "6 bits are close to 8 at three quarters of the size"},
    {"int4-g32-asym", "gptq", "mse", small_groups, "int6-g32-asym"},
    {"int4-g32-asym", "gptq", "mse", small_groups},
    {"int4-g64-asym", "gptq", "mse", four},
    {"int4-g64-asym", "gptq", "mse", four, {}, "int4-g64-asym"},
    {"int3-g64-asym", "gptq", "", three, {}, "int4-g64-asym"},
    {"int3-g32-asym", "gptq", "", three, {}, "int4-g32-asym"},
    {"int2-g64-asym", "gptq", "", two, {}, "int4-g64-asym"},
};
constexpr std::size_t mlx_8 = 0, mlx_4 = 3, mlx_small = 6;

constexpr AdviceStep onnx_steps[] = {
    {"int8-g32-sym", "rtn", "rtn", eight},          {"int8-channel-sym", "rtn", "rtn", eight},
    {"int4-g32-asym", "gptq", "mse", small_groups}, {"int4-g32-sym", "gptq", "mse", small_groups},
    {"int4-g128-asym", "gptq", "mse", four},        {"int4-g128-sym", "gptq", "mse", four},
};
constexpr std::size_t onnx_8 = 0, onnx_4 = 2;

constexpr AdviceStep bnb_steps[] = {
    {"int8-channel-sym", "llm-int8", "llm-int8",
     "LLM.int8(): 8-bit products, outlier columns of the inputs stay in 16 bits"},
    {"nf4-b64", "rtn", "rtn", "NF4's 16 values are spread as weights are: more of them near zero"},
    {"nf4-b64-dq", "rtn", "rtn", "NF4 with its scales in 8 bits as well: 4.13 bits instead of 4.5"},
};

constexpr AdviceStep plain_steps[] = {
    {"bf16", "rtn", "rtn", "16-bit floats: half of an f32 model, without calibration or kernels"},
    {"f8_e4m3-channel", "rtn", "rtn", "8-bit floats with a scale per row"},
};

std::vector<AdviceLadder> all_ladders(std::string_view goal, bool small) {
  if (goal == "quick")
    return {{"compressed-tensors", compressed_quick},
            {"gguf", gguf_steps, gguf_8},
            {"gguf", gguf_plain_steps},
            {"gptq", gptq_quick},
            {"mlx", mlx_steps, mlx_8},
            {"onnx", onnx_steps, onnx_8},
            {"bnb", bnb_steps},
            {"safetensors", plain_steps}};
  if (goal == "quality")
    return {{"compressed-tensors", compressed_quality},
            {"gptq", gptq_quality},
            {"gguf", gguf_steps, small ? gguf_5 : gguf_4},
            {"gguf", gguf_plain_steps},
            {"mlx", mlx_steps, mlx_4},
            {"onnx", onnx_steps, onnx_4},
            {"bnb", bnb_steps, 1},
            {"safetensors", plain_steps}};
  if (goal == "smallest")
    return {{"gguf", gguf_steps, gguf_3},
            {"gguf", gguf_plain_steps, 2},
            {"compressed-tensors", compressed_smallest, 2},
            {"gptq", gptq_smallest, 2},
            {"mlx", mlx_steps, mlx_small},
            {"onnx", onnx_steps, onnx_4 + 2},
            {"bnb", bnb_steps, 2},
            {"safetensors", plain_steps}};
  if (goal == "portable")
    return {{"gguf", gguf_steps, small ? gguf_8 : gguf_4},
            {"gguf", gguf_plain_steps},
            {"onnx", onnx_steps, small ? onnx_8 : onnx_4},
            {"mlx", mlx_steps, mlx_4},
            {"compressed-tensors", compressed_quick},
            {"gptq", gptq_quick},
            {"bnb", bnb_steps},
            {"safetensors", plain_steps}};
  return {};
}

/// The formats to be written for a runtime, of those that it reads: the best served one first.
std::vector<std::string_view> formats_for(std::string_view runtime) {
  if (runtime == "vllm" || runtime == "sglang")
    return {"compressed-tensors", "gptq", "safetensors"};
  if (runtime == "gptqmodel")
    return {"gptq"};
  if (runtime == "transformers")
    return {"compressed-tensors", "gptq", "bnb", "safetensors"};
  if (runtime == "llama.cpp" || runtime == "ollama")
    return {"gguf"};
  if (runtime == "onnxruntime")
    return {"onnx"};
  if (runtime == "mlx")
    return {"mlx"};
  return {};
}

} // namespace

std::vector<AdviceLadder> advice_ladders(std::string_view goal, std::string_view runtime,
                                         bool small) {
  auto ladders = all_ladders(goal, small);
  if (runtime.empty())
    return ladders;
  const auto formats = formats_for(runtime);
  if (formats.empty()) // one that only the exporters know: all formats, and the doctor decides
    return ladders;
  ladders.erase(std::remove_if(ladders.begin(), ladders.end(),
                               [&](const AdviceLadder& ladder) {
                                 return std::find(formats.begin(), formats.end(), ladder.format) ==
                                        formats.end();
                               }),
                ladders.end());
  return ladders;
}

} // namespace bitlathe
