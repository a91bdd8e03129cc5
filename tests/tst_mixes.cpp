// SPDX-License-Identifier: GPL-3.0-or-later
// Mixes: the type of every tensor as llama-quantize chooses it (its own tables for known models),
// with and without importance, for joined matrices, tied heads and shapes that do not fit; and
// whole files of the demo model, which must hold the bytes that llama-quantize writes.
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/recipe/mixes.h"
#include "tests/support.h"

#include <QCryptographicHash>
#include <QTemporaryDir>
#include <QTest>

#include <set>

using namespace bitlathe;

namespace {

/// A model of an architecture, with shapes but without values.
Checkpoint model_of(const std::string& architecture, const ModelSpec& spec) {
  Checkpoint c;
  c.architecture = architecture;
  c.spec = spec;
  for (const ModuleName& name : find_arch(architecture)->modules(spec)) {
    Module& m = c.modules.emplace_back();
    m.name = name.name;
    m.part = name.part;
    m.role = name.role;
    m.layer = name.layer;
    m.shape = name.shape;
    m.tied_to_embedding = name.part == "head" && spec.tied_head;
    m.weight.scheme = float_scheme(FloatType::bf16);
    m.weight.rows = name.shape.size() == 2 ? name.shape[0] : 1;
    m.weight.cols = name.shape.back();
    m.linear = name.shape.size() == 2 && m.role != "embedding" && !m.tied_to_embedding;
  }
  return c;
}

ModelSpec spec_of(std::int64_t layers, std::int64_t hidden, std::int64_t ffn, std::int64_t heads,
                  std::int64_t kv_heads, bool tied) {
  ModelSpec s;
  s.layers = layers;
  s.hidden = hidden;
  s.ffn = ffn;
  s.heads = heads;
  s.kv_heads = kv_heads;
  s.head_dim = hidden / heads;
  s.vocab = 512;
  s.context = 64;
  s.tied_head = tied;
  return s;
}

std::map<std::string, std::string> schemes(const Mix& mix, const Checkpoint& model,
                                           bool importance = false) {
  std::map<std::string, std::string> out;
  const auto choices = expand_mix(mix, model, importance);
  for (std::size_t i = 0; i < choices.size(); ++i)
    out[model.modules[i].name] = choices[i].scheme;
  return out;
}

/// Layers whose `part` gets a scheme.
std::vector<int> layers_with(const char* mix, const Checkpoint& model, std::string_view part,
                             std::string_view scheme, bool importance = false) {
  std::vector<int> out;
  const auto choices = expand_mix(*find_mix(mix), model, importance);
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (model.modules[i].part == part && choices[i].scheme == scheme)
      out.push_back(model.modules[i].layer);
  return out;
}

std::string text_of(const std::vector<int>& numbers) {
  std::string out;
  for (const int n : numbers)
    out += (out.empty() ? "" : " ") + std::to_string(n);
  return out;
}

} // namespace

class TestMixes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void table_is_sound() {
    std::set<std::string_view> ids;
    std::set<std::uint32_t> numbers;
    for (const Mix& mix : all_mixes()) {
      QVERIFY(ids.insert(mix.id).second && numbers.insert(mix.file_type).second);
      QVERIFY(looks_like_mix(mix.id));
      QVERIFY(parse_scheme(mix.base).ok());
      QVERIFY(!mix.summary.empty());
      QCOMPARE(find_mix(mix.id), &mix);
      std::string lower;
      for (const char c : mix.id)
        lower += char(std::tolower(c));
      QCOMPARE(mix_spelled_otherwise(lower), &mix);
    }
    QVERIFY(!find_mix("IQ1_S") && !mix_spelled_otherwise("iq1_s") && !find_mix(""));
    QVERIFY(!looks_like_mix("q4_k"));
  }

  /// tests/golden/mixes.json: what llama.cpp expects of itself.
  void known_models_data() {
    QTest::addColumn<QString>("model");
    for (const char* name :
         {"meta-llama-3.1-70b-instruct", "qwen3-0.6b", "qwen3-14b", "gemma-3-4b-it"})
      QTest::newRow(name) << name;
  }
  void known_models() {
    QFETCH(QString, model);
    const auto file = read_json_file(test::source_dir() / "tests/golden/mixes.json");
    QVERIFY2(file.ok(), file ? "" : file.error().text().c_str());
    const Json& golden = (*file)[model.toStdString()];
    const auto size = [&](const char* key) { return golden[key].get<std::int64_t>(); };
    const bool tied = !golden["mixes"]["Q4_K_M"].contains("output");
    ModelSpec spec = spec_of(size("n_layer"), size("n_embd"), size("n_ff"), size("n_head"),
                             size("n_head_kv"), tied);
    spec.vocab = size("n_vocab");
    const auto architecture = golden["architecture"].get<std::string>();
    const Checkpoint checkpoint = model_of(architecture, spec);
    std::size_t seen = 0;
    for (const auto& [id, expected] : golden["mixes"].items()) {
      const Mix* mix = find_mix(id);
      QVERIFY2(mix, id.c_str());
      ++seen;
      std::map<std::string, std::string> wanted; // GGUF tensor -> type
      for (const auto& [stem, types] : expected.items())
        if (types.is_object())
          for (const auto& [type, layers] : types.items())
            for (const auto& layer : layers)
              wanted[layer.get<int>() < 0
                         ? stem
                         : "blk." + std::to_string(layer.get<int>()) + "." + stem] = type;
      const auto got = schemes(*mix, checkpoint);
      std::size_t used = 0;
      for (const ModuleName& name : find_arch(architecture)->modules(spec)) {
        const Module* module = checkpoint.find_module(name.name);
        if (name.shape.size() < 2 || module->tied_to_embedding) {
          QVERIFY(got.at(name.name).empty());
          continue;
        }
        const auto other = wanted.find(name.gguf);
        used += other != wanted.end();
        const std::string want =
            other != wanted.end() ? other->second : expected["base"].get<std::string>();
        QVERIFY2(got.at(name.name) == want,
                 (id + " " + name.gguf + ": " + got.at(name.name) + ", not " + want).c_str());
      }
      QCOMPARE(used, wanted.size());
    }
    QCOMPARE(seen, all_mixes().size());
  }

  void importance_changes_some() {
    const Checkpoint model = model_of("llama", spec_of(32, 256, 512, 8, 8, false));
    QCOMPARE(text_of(layers_with("Q4_0", model, "down", "q4_1")), std::string());
    QCOMPARE(text_of(layers_with("Q4_0", model, "down", "q4_1", true)), std::string("0 1 2 3"));
    QCOMPARE(text_of(layers_with("Q5_0", model, "down", "q5_1", true)), std::string("0 1 2 3"));
    QCOMPARE(text_of(layers_with("IQ4_XS", model, "down", "q5_k")), std::string("0 1 2 3"));
    QCOMPARE(text_of(layers_with("IQ4_NL", model, "down", "q5_k", true)), std::string());
    QCOMPARE(layers_with("IQ4_NL", model, "v", "q5_k").size(), std::size_t(0));
    const Checkpoint grouped = model_of("llama", spec_of(32, 256, 512, 8, 2, false));
    QCOMPARE(layers_with("IQ4_NL", grouped, "v", "q5_k").size(), std::size_t(32));
  }

  /// One matrix for queries, keys and values counts as values; positions keep their type.
  void joined_matrices() {
    for (const char* architecture : {"gpt2", "gptneox", "phi3"}) {
      ModelSpec spec = spec_of(16, 256, 1024, 4, 4, false);
      spec.fused_qkv = "stacked";
      const Checkpoint model = model_of(architecture, spec);
      for (const char* part : {"qkv", "down"})
        QCOMPARE(text_of(layers_with("Q4_K_M", model, part, "q6_k")),
                 std::string("0 1 4 7 10 13 14 15"));
      QCOMPARE(text_of(layers_with("Q4_K_S", model, "qkv", "q5_k")), std::string("0 1 2 3"));
      QCOMPARE(text_of(layers_with("Q3_K_M", model, "qkv", "q5_k")), std::string("0 1"));
      QCOMPARE(layers_with("Q3_K_L", model, "qkv", "q5_k").size(), std::size_t(16));
      QCOMPARE(text_of(layers_with("Q4_K_S", model, "down", "q5_k")), std::string("0 1"));
      QCOMPARE(text_of(layers_with("Q6_K", model, "head", "q6_k")), std::string("-1"));
    }
    ModelSpec spec = spec_of(2, 256, 1024, 4, 4, true);
    const Checkpoint gpt2 = model_of("gpt2", spec);
    QCOMPARE(schemes(*find_mix("Q4_K_M"), gpt2).at("transformer.wpe"), std::string());
    QCOMPARE(schemes(*find_mix("Q4_K_M"), gpt2).at("transformer.wte"), std::string("q6_k"));
    QCOMPARE(schemes(*find_mix("F16"), gpt2).at("transformer.wpe"), std::string());
    QCOMPARE(schemes(*find_mix("F16"), gpt2).at("transformer.wte"), std::string("f16"));
  }

  void eighty_layers() {
    const auto values = [](const char* architecture, std::int64_t kv_heads) {
      const Checkpoint model = model_of(architecture, spec_of(80, 512, 512, 8, kv_heads, false));
      return layers_with("Q4_K_M", model, "v", "q5_k").size();
    };
    QVERIFY(values("llama", 1) > 0);
    QCOMPARE(values("llama", 8), std::size_t(0));
    QVERIFY(values("qwen2", 8) > 0);
    QCOMPARE(values("qwen3", 1), std::size_t(0));
  }

  /// Without an architecture, roles decide.
  void unknown_architectures() {
    Checkpoint model = model_of("llama", spec_of(8, 256, 512, 8, 8, false));
    const auto by_parts = schemes(*find_mix("Q4_K_M"), model);
    model.architecture = "something else";
    model.spec.reset();
    for (Module& module : model.modules)
      module.part.clear();
    QCOMPARE(schemes(*find_mix("Q4_K_M"), model), by_parts);
  }

  void reasons_and_fallbacks() {
    Recipe recipe;
    recipe.default_scheme = "Q4_K_M";
    recipe.rules.push_back({"*.0.*q_proj", "q8_0", "", Json::object()});
    recipe.rules.push_back({"*.1.*q_proj", "Q2_K", "", Json::object()});
    recipe.exclude = {"*.gate_proj"};
    const Checkpoint model = model_of("llama", spec_of(8, 256, 96, 8, 8, false));
    const auto plan = make_plan(model, recipe);
    QVERIFY2(plan.ok(), plan ? "" : plan.error().text().c_str());
    const auto at = [&](const std::string& name) { return *plan->find(name); };
    QCOMPARE(at("lm_head").scheme.id, std::string("q6_k"));
    QCOMPARE(at("lm_head").reason, std::string("mix Q4_K_M: the output"));
    QCOMPARE(at("model.embed_tokens").reason, std::string("mix Q4_K_M"));
    QVERIFY(at("model.layers.0.self_attn.v_proj").reason.rfind("mix Q4_K_M: attention", 0) == 0);
    QCOMPARE(at("model.layers.0.self_attn.q_proj").scheme.id, std::string("q8_0"));
    QCOMPARE(at("model.layers.1.self_attn.q_proj").scheme.id, std::string("q2_k"));
    QCOMPARE(at("model.layers.1.self_attn.q_proj").reason,
             std::string("rule 2: *.1.*q_proj: mix Q2_K"));
    QVERIFY(!at("model.layers.1.mlp.gate_proj").quantize);
    const auto down = at("model.layers.0.mlp.down_proj"); // rows of 96
    QCOMPARE(down.scheme.id, std::string("q8_0"));
    QVERIFY(down.reason.rfind("mix Q4_K_M: ", 0) == 0);
    QVERIFY(down.reason.find("fallback: rows of 96 columns") != std::string::npos);
    // One note for all modules that fell back the same way.
    const auto noted = [&](const char* text) {
      return std::count_if(plan->notes.begin(), plan->notes.end(), [&](const std::string& note) {
        return note.find(text) != std::string::npos;
      });
    };
    QCOMPARE(noted("instead of q4_k"), 1);
    QCOMPARE(noted("instead of q6_k"), 1);
  }

  void a_checkpoint_tells_its_mix() {
    for (const bool tied : {false, true})
      for (const Mix& mix : all_mixes()) {
        Checkpoint model = model_of("llama", spec_of(16, 256, 512, 8, 2, tied));
        const auto choices = expand_mix(mix, model, mix.needs_importance);
        for (std::size_t i = 0; i < choices.size(); ++i)
          if (!choices[i].scheme.empty())
            model.modules[i].weight.scheme = *parse_scheme(choices[i].scheme);
        const Mix* found = mix_of(model);
        if (!parse_scheme(mix.base)->quantized) {
          QVERIFY(!found);
          continue;
        }
        QVERIFY2(found, mix.id.data());
        if (found != &mix) // then the two are the same for this model
          QCOMPARE(schemes(*found, model), schemes(mix, model));
        model.modules[1].weight.scheme = *parse_scheme("q5_0"); // a norm has no say
        QCOMPARE(mix_of(model), found);
        for (Module& module : model.modules)
          if (module.part == "q" && module.layer == 3) // but any matrix has
            module.weight.scheme = *parse_scheme("int4-g32-sym");
        QVERIFY(!mix_of(model));
      }
  }

  /// With statistics the searches are weighted, which every module says; a weight without an entry
  /// is a note.
  void importance_is_used_and_named() {
    const auto model = open_checkpoint(test::demo_model());
    QVERIFY(model.ok());
    ActivationStatistics statistics;
    for (const Module& module : (*model)->modules)
      if (module.linear) {
        ActivationModule& m = statistics.modules[module.name];
        m.name = module.name;
        m.tokens = 10;
        for (std::int64_t c = 0; c < module.weight.cols; ++c)
          m.channel_sum2.push_back(1.0 + double(c * c % 97));
      }
    Recipe recipe;
    recipe.default_scheme = "Q4_0";
    const auto plan = make_plan(**model, recipe, false, true);
    QVERIFY(plan.ok());
    QTemporaryDir dir;
    const auto compute = std::move(*make_cpu_compute());
    Feedback feedback;
    QuantizeOptions options;
    options.result_folder = fs::path(dir.path().toStdString()) / "kept";
    options.statistics = &statistics;
    const auto summary = run_quantize(**model, *plan, *compute, options, feedback);
    QVERIFY2(summary.ok(), summary ? "" : summary.error().text().c_str());
    for (const ModuleResult& module : summary->modules)
      QCOMPARE(module.reason.find("weighted by importance") != std::string::npos,
               statistics.modules.count(module.name) > 0);
    QCOMPARE(std::count_if(summary->notes.begin(), summary->notes.end(),
                           [](const std::string& note) {
                             return note.find("without importance") != std::string::npos;
                           }),
             1); // the embedding's
    // Weighted codes serve the weighted error, at the cost of the plain one.
    const auto plain_plan = make_plan(**model, recipe);
    options.statistics = nullptr;
    options.result_folder += "-plain";
    const auto plain = run_quantize(**model, *plain_plan, *compute, options, feedback);
    QVERIFY(plain.ok());
    QVERIFY(plain->modules[2].mse != summary->modules[2].mse);
    QCOMPARE(plain->modules[0].mse, summary->modules[0].mse);
  }

  /// Hashes of llama-quantize's own files of this model: names, types and bytes of all tensors.
  void same_files_as_llama_quantize_data() {
    QTest::addColumn<QString>("mix");
    QTest::addColumn<int>("fileType");
    QTest::addColumn<QByteArray>("hash");
    struct File {
      const char* mix;
      int file_type;
      const char* hash;
    };
    for (const File& file : {File{"F16", 1, "e2f26207a98896a6"},
                             {"Q8_0", 7, "7cf994faef46e4f0"},
                             {"Q6_K", 18, "7873de18576e6102"},
                             {"Q5_K_M", 17, "d226b21990cd6ef8"},
                             {"Q5_1", 9, "73440dc9fae1a07a"},
                             {"Q5_0", 8, "a8030b877f69c3b9"},
                             {"Q4_K_M", 15, "7f8b6b15ef018229"},
                             {"IQ4_NL", 25, "fa0c1f00fb2c0c39"},
                             {"IQ4_XS", 30, "c281357acf01c5a6"},
                             {"Q4_1", 3, "2747417ad4909dc3"},
                             {"Q4_0", 2, "a7dbab521614468a"},
                             {"Q3_K_M", 12, "af9f6f7cf9c0926e"},
                             {"Q2_K", 10, "2c32fadd41a6c117"}})
      QTest::newRow(file.mix) << file.mix << file.file_type << QByteArray(file.hash);
  }
  void same_files_as_llama_quantize() {
    QFETCH(QString, mix);
    QFETCH(int, fileType);
    QFETCH(QByteArray, hash);
    const auto model = open_checkpoint(test::demo_model());
    QVERIFY(model.ok());
    Recipe recipe;
    recipe.default_scheme = mix.toStdString();
    const auto plan = make_plan(**model, recipe);
    QVERIFY(plan.ok());
    QTemporaryDir dir;
    const fs::path folder = dir.path().toStdString();
    const auto compute = std::move(*make_cpu_compute());
    Feedback feedback;
    QuantizeOptions options;
    options.result_folder = folder / "kept";
    const auto summary = run_quantize(**model, *plan, *compute, options, feedback);
    QVERIFY2(summary.ok(), summary ? "" : summary.error().text().c_str());
    const auto kept = open_checkpoint(options.result_folder);
    QVERIFY(kept.ok());
    ExportOptions target;
    target.folder = folder / "out";
    target.name = "demo";
    target.label = recipe.default_scheme;
    const auto outcome = run_export(**kept, *find_exporter("gguf"), target, feedback);
    QVERIFY2(outcome.ok(), outcome ? "" : outcome.error().text().c_str());
    QCOMPARE(outcome->path.filename().string(), "demo-" + mix.toStdString() + ".gguf");
    auto file = read_gguf(outcome->path);
    QVERIFY(file.ok());
    QCOMPARE(find(file->metadata, "general.file_type")->as_int(), std::optional(fileType));
    QCOMPARE(find(file->metadata, "general.quantization_version")->as_int(), std::optional(2));
    std::sort(file->tensors.begin(), file->tensors.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    QCryptographicHash all(QCryptographicHash::Sha256);
    for (const auto& tensor : file->tensors) {
      all.addData(QByteArray::fromStdString(tensor.name));
      all.addData(QByteArray(1, char(find_gguf_type(tensor.dtype)->id)));
      all.addData(QByteArray::fromRawData(reinterpret_cast<const char*>(tensor.data.data()),
                                          qsizetype(tensor.data.size())));
    }
    QCOMPARE(all.result().toHex().left(16), hash);
    // Opened without being told, the file is named by its weights.
    if (parse_scheme(find_mix(recipe.default_scheme)->base)->quantized)
      QCOMPARE(mix_of(**open_checkpoint(outcome->path))->id,
               std::string_view(find_mix(recipe.default_scheme)->id));
  }
};

QTEST_GUILESS_MAIN(TestMixes)
#include "tst_mixes.moc"
