// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/decoder.h"

#include "core/export/onnx/linear.h"
#include "core/export/onnx/nodes.h"
#include "core/export/onnx/rotary.h"

#include <cmath>
#include <numbers>

namespace bitlathe {

namespace {

using Value = OnnxGraph::Value;
using List = std::vector<std::int64_t>;

constexpr std::int64_t last = -1;

class DecoderGraph {
 public:
  explicit DecoderGraph(const Checkpoint& model)
      : model_(model), spec_(*model.spec), masks_(graph_, inputs_) {}

  Result<OnnxGraph> make() {
    add_inputs();
    TRY_ASSIGN(const Module* embedding, part(-1, "embedding"));
    enter(*embedding);
    Value x = add_onnx_table(graph_, embedding->hf_name(), embedding->weight, inputs_.ids);
    if (spec_.embedding_scale != 1.0f)
      x = graph_.add("Mul", {x, graph_.constant(spec_.embedding_scale)});
    if (const Module* positions = find(-1, "positions")) {
      enter(*positions);
      x = graph_.add("Add", {x, add_onnx_table(graph_, positions->hf_name(), positions->weight,
                                               inputs_.positions)});
    }
    for (std::int64_t layer = 0; layer < spec_.layers; ++layer) {
      TRY_ASSIGN(x, add_layer(int(layer), x));
    }
    TRY_ASSIGN(x, add_norm(-1, "final_norm", x));
    const Module* head = find(-1, "head");
    TRY(add_head(head ? *head : *embedding, *embedding, x));
    return std::move(graph_);
  }

 private:
  const Module* find(int layer, const char* name) const {
    const Module* module = model_.find_part(layer, name);
    return module && (module->weight.rows > 0 || module->tied_to_embedding) ? module : nullptr;
  }
  Result<const Module*> part(int layer, const char* name) const {
    if (const Module* module = find(layer, name))
      return module;
    return Error{"bad-file",
                 "The checkpoint has no weight for the part " + std::string(name) +
                     (layer < 0 ? std::string() : " of layer " + std::to_string(layer)),
                 model_.path.string()};
  }
  void enter(const Module& module) { graph_.enter(onnx_scope(module.hf_name())); }

  Value times(const Value& a, float factor) {
    return graph_.add("Mul", {a, graph_.constant(factor)});
  }
  Value softcap(const Value& x, float cap) {
    const Value small = graph_.add("Div", {x, graph_.constant(cap)});
    return times(graph_.add("Tanh", {small}), cap);
  }
  Value reshape(const Value& x, const List& shape) {
    return graph_.add("Reshape", {x, graph_.constants(shape)});
  }
  OnnxGraph::Values split(const Value& x, const List& sizes) {
    return graph_.add_many("Split", {x, graph_.constants(sizes)}, {{"axis", last}},
                           int(sizes.size()));
  }

  void add_inputs() {
    using onnx::TensorProto;
    const std::vector<OnnxGraph::Dim> tokens{"batch_size", "sequence_length"};
    const std::vector<OnnxGraph::Dim> past{"batch_size", spec_.kv_heads, "past_sequence_length",
                                           spec_.head_dim};
    const std::vector<OnnxGraph::Dim> present{"batch_size", spec_.kv_heads, "total_sequence_length",
                                              spec_.head_dim};
    inputs_ = {"input_ids", "attention_mask", "position_ids"};
    graph_.add_input(inputs_.ids, TensorProto::INT64, tokens);
    graph_.add_input(inputs_.mask, TensorProto::INT64, {"batch_size", "total_sequence_length"});
    graph_.add_input(inputs_.positions, TensorProto::INT64, tokens);
    graph_.add_output("logits", TensorProto::FLOAT, {"batch_size", "sequence_length", spec_.vocab});
    for (std::int64_t i = 0; i < spec_.layers; ++i)
      for (const char* kind : {".key", ".value"}) {
        const std::string number = std::to_string(i) + kind;
        graph_.add_input("past_key_values." + number, TensorProto::FLOAT, past);
        graph_.add_output("present." + number, TensorProto::FLOAT, present);
      }
  }

  /// A part that is a norm; x as it is where a layer does not have it.
  Result<Value> add_norm(int layer, const char* name, const Value& x) {
    TRY_ASSIGN(const Module* module, part(layer, name));
    return normalized(*module, x);
  }

  Value normalized(const Module& module, const Value& x) {
    enter(module);
    Value weight = add_onnx_vector(graph_, module.hf_name() + ".weight", module.weight);
    if (spec_.norm_plus_one)
      weight = graph_.add("Add", {weight, graph_.constant(1.0f)});
    if (spec_.norm == "layer") {
      OnnxGraph::Values inputs{x, weight};
      if (module.bias.rows > 0)
        inputs.push_back(add_onnx_vector(graph_, module.hf_name() + ".bias", module.bias));
      return graph_.add("LayerNormalization", inputs,
                        {{"axis", last}, {"epsilon", spec_.norm_eps}});
    }
    const Value square = graph_.add("Pow", {x, graph_.constant(2.0f)});
    const Value mean = graph_.add("ReduceMean", {square}, {{"axes", List{last}}});
    const Value root =
        graph_.add("Sqrt", {graph_.add("Add", {mean, graph_.constant(spec_.norm_eps)})});
    return graph_.add("Mul", {graph_.add("Div", {x, root}), weight});
  }

  Value product(const Module& module, const Value& x) {
    OnnxLinear linear{module.weight, module.hf_name(), false, module.activations,
                      &module.activation_scale};
    if (module.activations == "int8-token-dynamic") {
      if (grid_ends_.empty()) {
        graph_.enter("/grid");
        grid_ends_ = add_onnx_grid_ends(graph_, inputs_.ids);
      }
      linear.grid_ends = grid_ends_;
    }
    enter(module);
    Value y = add_onnx_linear(graph_, linear, x);
    if (module.bias.rows > 0)
      y = graph_.add("Add", {y, add_onnx_vector(graph_, module.hf_name() + ".bias", module.bias)});
    return y;
  }
  Result<Value> product(int layer, const char* name, const Value& x) {
    TRY_ASSIGN(const Module* module, part(layer, name));
    return product(*module, x);
  }

  Result<void> add_head(const Module& head, const Module& embedding, const Value& x) {
    const bool tied = &head == &embedding || head.tied_to_embedding;
    Value logits;
    if (tied) {
      enter(head);
      logits = add_onnx_linear(graph_, {embedding.weight, embedding.hf_name(), true}, x);
      if (&head != &embedding && head.bias.rows > 0)
        logits = graph_.add("Add",
                            {logits, add_onnx_vector(graph_, head.hf_name() + ".bias", head.bias)});
    } else {
      logits = product(head, x);
    }
    if (spec_.final_softcap > 0)
      logits = softcap(logits, spec_.final_softcap);
    graph_.name_last(logits, "logits");
    return {};
  }

  struct Heads {
    Value q, k, v; ///< [B, S, heads, head_dim]
  };

  /// Norms of heads: of each, or of all together before they are cut up.
  Value norm_heads(int layer, const char* name, const Value& x, std::int64_t heads) {
    const Module* module = find(layer, name);
    if (!module)
      return x;
    if (module->weight.cols == spec_.head_dim)
      return normalized(*module, x);
    const Value together = normalized(*module, reshape(x, {0, 0, heads * spec_.head_dim}));
    return reshape(together, {0, 0, heads, spec_.head_dim});
  }

  Result<Heads> project(int layer, const Value& x) {
    const std::int64_t dim = spec_.head_dim;
    Heads out;
    if (spec_.fused_qkv.empty()) {
      TRY_ASSIGN(out.q, product(layer, "q", x));
      TRY_ASSIGN(out.k, product(layer, "k", x));
      TRY_ASSIGN(out.v, product(layer, "v", x));
    } else {
      TRY_ASSIGN(const Value all, product(layer, "qkv", x));
      if (spec_.fused_qkv == "per_head") {
        const auto parts = split(reshape(all, {0, 0, spec_.heads, 3 * dim}), {dim, dim, dim});
        return Heads{parts[0], parts[1], parts[2]};
      }
      const auto parts =
          split(all, {spec_.heads * dim, spec_.kv_heads * dim, spec_.kv_heads * dim});
      out = {parts[0], parts[1], parts[2]};
    }
    out.q = reshape(out.q, {0, 0, spec_.heads, dim});
    out.k = reshape(out.k, {0, 0, spec_.kv_heads, dim});
    out.v = reshape(out.v, {0, 0, spec_.kv_heads, dim});
    return out;
  }

  const OnnxRotation& rotation(const RopeSpec& rope) {
    OnnxRotation& made = &rope == &spec_.rope ? rotation_ : local_rotation_;
    if (made.cos.empty()) {
      graph_.enter(&rope == &spec_.rope ? "/rotary" : "/rotary_local");
      made = add_onnx_rotation(graph_, inputs_, rope);
    }
    return made;
  }

  /// The values that were there before, then those of this call.
  Value remembered(int layer, const char* kind, const Value& now) {
    const std::string number = std::to_string(layer) + "." + kind;
    const Value all =
        graph_.add("Concat", {"past_key_values." + number, now}, {{"axis", std::int64_t(2)}});
    return graph_.name_last(all, "present." + number);
  }

  Result<Value> attend(int layer, const Value& x) {
    const std::int64_t dim = spec_.head_dim, groups = spec_.heads / spec_.kv_heads;
    const std::int64_t window = spec_.windows.empty() ? 0 : spec_.windows[std::size_t(layer)];
    graph_.enter("/mask");
    const Value mask = masks_.of_window(window);
    const Value by_head = groups > 1 ? masks_.shape_with_keys({0, spec_.heads, -1}) : Value();
    const Value by_group = groups > 1 ? masks_.shape_with_keys({0, spec_.kv_heads, -1}) : Value();
    const RopeSpec& rope = window > 0 && spec_.local_rope.dims > 0 ? spec_.local_rope : spec_.rope;
    const OnnxRotation* turn = rope.dims > 0 ? &rotation(rope) : nullptr;

    TRY_ASSIGN(Heads heads, project(layer, x));
    heads.q = norm_heads(layer, "q_norm", heads.q, spec_.heads);
    heads.k = norm_heads(layer, "k_norm", heads.k, spec_.kv_heads);
    TRY_ASSIGN(const Module* output, part(layer, "o"));
    const std::string scope = onnx_scope(output->hf_name());
    graph_.enter(scope.substr(0, scope.rfind('/')));
    const List heads_first{0, 2, 1, 3};
    const auto turned = [&](const Value& value) {
      const Value first = graph_.add("Transpose", {value}, {{"perm", heads_first}});
      return turn ? turn_heads(graph_, *turn, first, dim) : first;
    };
    Value q = turned(heads.q);
    const Value k = remembered(layer, "key", turned(heads.k));
    const Value v =
        remembered(layer, "value", graph_.add("Transpose", {heads.v}, {{"perm", heads_first}}));

    const float scale =
        spec_.attention_scale > 0 ? spec_.attention_scale : 1.0f / std::sqrt(float(dim));
    q = times(q, scale);
    // Heads that share a key go through one product.
    if (groups > 1)
      q = reshape(q, {0, spec_.kv_heads, -1, dim});
    const Value k_columns = graph_.add("Transpose", {k}, {{"perm", List{0, 1, 3, 2}}});
    Value scores = graph_.add("MatMul", {q, k_columns});
    if (spec_.attention_softcap > 0)
      scores = softcap(scores, spec_.attention_softcap);
    if (groups > 1)
      scores = graph_.add("Reshape", {scores, by_head});
    Value share = graph_.add("Softmax", {graph_.add("Add", {scores, mask})}, {{"axis", last}});
    if (groups > 1)
      share = graph_.add("Reshape", {share, by_group});
    Value mixed = graph_.add("MatMul", {share, v});
    if (groups > 1)
      mixed = reshape(mixed, {0, spec_.heads, -1, dim});
    mixed = graph_.add("Transpose", {mixed}, {{"perm", heads_first}});
    mixed = reshape(mixed, {0, 0, spec_.heads * dim});
    Value out = product(*output, mixed);
    if (const Module* norm = find(layer, "post_attention_norm"))
      out = normalized(*norm, out);
    return out;
  }

  Value activated(const Value& x) {
    const auto sigmoid = [&](const Value& of) { return graph_.add("Sigmoid", {of}); };
    if (spec_.activation == "relu")
      return graph_.add("Relu", {x});
    if (spec_.activation == "silu")
      return graph_.add("Mul", {x, sigmoid(x)});
    if (spec_.activation == "gelu_quick")
      return graph_.add("Mul", {x, sigmoid(times(x, 1.702f))});
    Value inner;
    if (spec_.activation == "gelu") {
      inner = graph_.add("Erf", {graph_.add("Div", {x, graph_.constant(std::sqrt(2.0f))})});
    } else { // gelu_tanh
      const Value cube = graph_.add("Pow", {x, graph_.constant(3.0f)});
      const Value bent = graph_.add("Add", {x, times(cube, 0.044715f)});
      inner = graph_.add("Tanh", {times(bent, float(std::sqrt(2 / std::numbers::pi)))});
    }
    const Value share = graph_.add("Add", {inner, graph_.constant(1.0f)});
    return times(graph_.add("Mul", {x, share}), 0.5f);
  }

  Result<Value> feed(int layer, const Value& x) {
    TRY_ASSIGN(const Module* down, part(layer, "down"));
    const std::string scope = onnx_scope(down->hf_name());
    const std::string around = scope.substr(0, scope.rfind('/'));
    Value gate, up;
    if (find(layer, "gate_up")) {
      TRY_ASSIGN(const Value both, product(layer, "gate_up", x));
      graph_.enter(around);
      const auto parts = split(both, {spec_.ffn, spec_.ffn});
      gate = parts[0];
      up = parts[1];
    } else {
      if (find(layer, "gate")) {
        TRY_ASSIGN(gate, product(layer, "gate", x));
      }
      TRY_ASSIGN(up, product(layer, "up", x));
    }
    graph_.enter(around);
    const Value inner = gate.empty() ? activated(up) : graph_.add("Mul", {activated(gate), up});
    Value out = product(*down, inner);
    if (const Module* norm = find(layer, "post_mlp_norm"))
      out = normalized(*norm, out);
    return out;
  }

  Result<Value> add_layer(int layer, const Value& x) {
    TRY_ASSIGN(const Module* norm, part(layer, "attention_norm"));
    const std::string scope = onnx_scope(norm->hf_name());
    const std::string around = scope.substr(0, scope.rfind('/'));
    const Value before = normalized(*norm, x);
    TRY_ASSIGN(const Value attention, attend(layer, before));
    const auto sum = [&](const Value& a, const Value& b) {
      graph_.enter(around);
      return graph_.add("Add", {a, b});
    };
    if (spec_.parallel_residual) {
      Value other = before;
      if (const Module* own = find(layer, "mlp_norm"))
        other = normalized(*own, x);
      TRY_ASSIGN(const Value fed, feed(layer, other));
      return sum(sum(x, fed), attention);
    }
    const Value middle = sum(x, attention);
    TRY_ASSIGN(const Value second, add_norm(layer, "mlp_norm", middle));
    TRY_ASSIGN(const Value fed, feed(layer, second));
    return sum(middle, fed);
  }

  const Checkpoint& model_;
  const ModelSpec& spec_;
  OnnxGraph graph_;
  OnnxInputs inputs_;
  OnnxMasks masks_;
  OnnxRotation rotation_, local_rotation_;
  Value grid_ends_; ///< once for all linears
};

} // namespace

Result<OnnxGraph> make_onnx_decoder(const Checkpoint& model) { return DecoderGraph(model).make(); }

} // namespace bitlathe
