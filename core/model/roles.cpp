// SPDX-License-Identifier: Apache-2.0
// Roles by name: for models that no architecture explains, so that they can still be looked at and
// quantized.
#include "core/model/assemble.h"

#include <algorithm>
#include <array>

namespace bitlathe {

namespace {

struct RoleName {
  std::string_view part, role; ///< last part of the module's name
};
constexpr std::array role_names{RoleName{"q_proj", "q_proj"},
                                RoleName{"k_proj", "k_proj"},
                                RoleName{"v_proj", "v_proj"},
                                RoleName{"o_proj", "o_proj"},
                                RoleName{"out_proj", "o_proj"},
                                RoleName{"qkv_proj", "qkv_proj"},
                                RoleName{"query_key_value", "qkv_proj"},
                                RoleName{"Wqkv", "qkv_proj"},
                                RoleName{"attn_q", "q_proj"},
                                RoleName{"attn_k", "k_proj"},
                                RoleName{"attn_v", "v_proj"},
                                RoleName{"attn_output", "o_proj"},
                                RoleName{"attn_qkv", "qkv_proj"},
                                RoleName{"gate_proj", "gate_proj"},
                                RoleName{"up_proj", "up_proj"},
                                RoleName{"down_proj", "down_proj"},
                                RoleName{"gate_up_proj", "gate_up_proj"},
                                RoleName{"ffn_gate", "gate_proj"},
                                RoleName{"ffn_up", "up_proj"},
                                RoleName{"ffn_down", "down_proj"},
                                RoleName{"fc1", "fc_in"},
                                RoleName{"fc_in", "fc_in"},
                                RoleName{"dense_h_to_4h", "fc_in"},
                                RoleName{"c_fc", "fc_in"},
                                RoleName{"fc2", "fc_out"},
                                RoleName{"fc_out", "fc_out"},
                                RoleName{"dense_4h_to_h", "fc_out"}};

constexpr std::array embedding_names{
    "embed",           "wte",          "wpe", "token_embd", "tok_embeddings", "embd",
    "word_embeddings", "position_embd"};
constexpr std::array head_names{"lm_head", "embed_out", "output"};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 7 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

} // namespace

void describe_module(Module& module) {
  std::vector<std::string_view> parts;
  const std::string_view name = module.name;
  for (std::size_t at = 0; at <= name.size();) {
    const auto end = std::min(name.find('.', at), name.size());
    parts.push_back(name.substr(at, end - at));
    at = end + 1;
  }
  module.layer = -1;
  for (const auto part : parts)
    if (module.layer < 0 && is_number(part))
      module.layer = std::stoi(std::string(part));

  const auto last = parts.back();
  const bool matrix = module.shape.size() == 2;
  module.role.clear();
  if (std::find(head_names.begin(), head_names.end(), last) != head_names.end() && module.layer < 0)
    module.role = "lm_head";
  else if (contains(last, "norm") || last.substr(0, 2) == "ln")
    module.role = "norm";
  else
    for (const auto embedding : embedding_names)
      if (contains(last, embedding) && module.layer < 0)
        module.role = "embedding";
  for (const auto& known : role_names)
    if (module.role.empty() && matrix && last == known.part)
      module.role = known.role;
  if (module.role.empty())
    module.role = matrix ? "linear" : "other";
  module.linear =
      matrix && module.role != "embedding" && module.role != "norm" && !module.tied_to_embedding;
}

} // namespace bitlathe
