// SPDX-License-Identifier: GPL-3.0-or-later
// Opening checkpoints: the models that must run, and everything that can be wrong with a folder.
#include "core/export/exporter.h"
#include "core/model/checkpoint.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <cmath>
#include <fstream>
#include <set>

using namespace bitlathe;

namespace {

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

TensorToWrite zeros(const std::string& name, const std::string& dtype,
                    std::vector<std::int64_t> shape) {
  std::uint64_t bytes = std::uint64_t(safetensors_dtype_bits(dtype)) / 8;
  for (const auto n : shape)
    bytes *= std::uint64_t(n);
  return {name, dtype, std::move(shape), bytes,
          [bytes](OutputFile& file) { return file.write(std::vector<std::byte>(bytes)); }};
}

Json tiny_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", 8},
          {"intermediate_size", 12},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"vocab_size", 10},
          {"rms_norm_eps", 1e-5},
          {"max_position_embeddings", 64}};
}

std::vector<TensorToWrite> tiny_tensors(bool head = true, bool biases = false,
                                        const std::string& type = "F32") {
  const std::string l = "model.layers.0.";
  std::vector<TensorToWrite> out{
      zeros("model.embed_tokens.weight", type, {10, 8}),
      zeros(l + "input_layernorm.weight", type, {8}),
      zeros(l + "self_attn.q_proj.weight", type, {8, 8}),
      zeros(l + "self_attn.k_proj.weight", type, {4, 8}),
      zeros(l + "self_attn.v_proj.weight", type, {4, 8}),
      zeros(l + "self_attn.o_proj.weight", type, {8, 8}),
      zeros(l + "post_attention_layernorm.weight", type, {8}),
      zeros(l + "mlp.gate_proj.weight", type, {12, 8}),
      zeros(l + "mlp.up_proj.weight", type, {12, 8}),
      zeros(l + "mlp.down_proj.weight", type, {8, 12}),
      zeros("model.norm.weight", type, {8}),
  };
  if (head)
    out.push_back(zeros("lm_head.weight", type, {10, 8}));
  if (biases)
    for (const auto& [name, n] : {std::pair("q_proj", 8), std::pair("k_proj", 4),
                                  std::pair("v_proj", 4), std::pair("o_proj", 8)})
      out.push_back(zeros(l + "self_attn." + name + ".bias", type, {n}));
  return out;
}

void make_model(const fs::path& folder, const Json& config, std::vector<TensorToWrite> tensors) {
  fs::create_directories(folder);
  if (!config.is_null())
    put(folder / "config.json", config.dump());
  const auto written = write_safetensors_folder(folder, std::move(tensors), 1 << 30);
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  return *checkpoint;
}

bool noted(const Checkpoint& checkpoint, const std::string& part) {
  for (const auto& note : checkpoint.notes)
    if (note.find(part) != std::string::npos)
      return true;
  return false;
}

} // namespace

class TestCheckpoint : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void demo_model();
  void reference_models();
  void tied_heads();
  void biases();
  void rope_scaling();
  void not_runnable_but_inspectable_data();
  void not_runnable_but_inspectable();
  void unknown_architecture();
  void unused_tensors();
  void other_prefixes_data();
  void other_prefixes();
  void single_file();
  void errors();
};

void TestCheckpoint::demo_model() {
  const auto model = opened(test::demo_model());
  QCOMPARE(model->format, std::string("safetensors"));
  QCOMPARE(model->architecture, std::string("llama"));
  QCOMPARE(model->name, std::string("demo"));
  QVERIFY2(model->spec.has_value(), model->why_not_runnable.c_str());
  QVERIFY2(model->tokenizer != nullptr, model->tokenizer_problem.c_str());
  QCOMPARE(model->modules.size(), std::size_t(39));
  QCOMPARE(model->modules.front().role, std::string("embedding"));
  QCOMPARE(model->modules.back().role, std::string("lm_head"));
  QVERIFY(model->modules.back().linear);
  QVERIFY(!model->modules.front().linear);
  QCOMPARE(model->parameters(), std::int64_t(4196608));
  QCOMPARE(model->bytes(), std::uint64_t(4196608 * 2));
  QVERIFY(!model->quantized());
  const auto* down = model->find_module("model.layers.3.mlp.down_proj");
  QVERIFY(down);
  QCOMPARE(down->role, std::string("down_proj"));
  QCOMPARE(down->layer, 3);
  QCOMPARE(down->weight.rows, std::int64_t(256));
  QCOMPARE(down->weight.cols, std::int64_t(768));
  QCOMPARE(down->dtype(), std::string("BF16"));
  QVERIFY(down->linear);
  const auto& spec = *model->spec;
  QCOMPARE(spec.kv_heads, std::int64_t(4));
  QCOMPARE(spec.head_dim, std::int64_t(32));
  QCOMPARE(spec.eos, std::int64_t(0));
  QCOMPARE(spec.bos, std::int64_t(-1));
  QVERIFY(model->notes.empty());
  QVERIFY(model->others.empty());
  QCOMPARE(model->side_files.size(), std::size_t(3));
}

void TestCheckpoint::reference_models() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  const auto tiny = opened(*data / "models" / "tinystories-656k");
  QVERIFY2(tiny->spec.has_value(), tiny->why_not_runnable.c_str());
  QVERIFY(noted(*tiny, "Only lm_head.weight is stored"));
  QVERIFY(tiny->spec->tied_head);
  QCOMPARE(tiny->modules.front().name, std::string("model.embed_tokens"));
  QCOMPARE(tiny->modules.front().weight.rows, std::int64_t(2048));
  const auto& head = tiny->modules.back();
  QVERIFY(head.tied_to_embedding);
  QVERIFY(!head.linear);
  QCOMPARE(head.weight.codes.data(), tiny->modules.front().weight.codes.data());
  QCOMPARE(head.parameters(), std::int64_t(0));
  QCOMPARE(tiny->bytes(), std::uint64_t(tiny->parameters()) * 4);

  const auto stories = opened(*data / "models" / "stories260k-hf");
  QVERIFY2(stories->spec.has_value(), stories->why_not_runnable.c_str());
  QCOMPARE(stories->spec->ffn, std::int64_t(172));
  QCOMPARE(stories->spec->head_dim, std::int64_t(8));
  QVERIFY2(stories->tokenizer != nullptr, stories->tokenizer_problem.c_str());
  QVERIFY2(tiny->tokenizer != nullptr, tiny->tokenizer_problem.c_str());
}

void TestCheckpoint::tied_heads() {
  QTemporaryDir dir;
  auto config = tiny_config();
  make_model(path_of(dir) / "untied", config, tiny_tensors());
  QVERIFY(!opened(path_of(dir) / "untied")->modules.back().tied_to_embedding);
  make_model(path_of(dir) / "no-head", config, tiny_tensors(false));
  const auto no_head = opened(path_of(dir) / "no-head");
  QVERIFY(no_head->spec && no_head->spec->tied_head);
  QVERIFY(noted(*no_head, "the embedding is used as head"));
  config["tie_word_embeddings"] = true;
  make_model(path_of(dir) / "both", config, tiny_tensors());
  const auto both = opened(path_of(dir) / "both");
  QVERIFY(both->spec && both->modules.back().tied_to_embedding);
  QVERIFY(noted(*both, "lm_head.weight is not used"));
  QCOMPARE(both->others.size(), std::size_t(1));
}

void TestCheckpoint::biases() {
  QTemporaryDir dir;
  auto config = tiny_config();
  make_model(path_of(dir) / "unexpected", config, tiny_tensors(true, true));
  const auto unexpected = opened(path_of(dir) / "unexpected");
  QVERIFY(unexpected->spec.has_value());
  QCOMPARE(unexpected->others.size(), std::size_t(4));
  config["attention_bias"] = true;
  make_model(path_of(dir) / "with", config, tiny_tensors(true, true));
  const auto with = opened(path_of(dir) / "with");
  QVERIFY2(with->spec.has_value(), with->why_not_runnable.c_str());
  const auto* q = with->find_module("model.layers.0.self_attn.q_proj");
  QCOMPARE(q->bias.rows, std::int64_t(1));
  QCOMPARE(q->bias.cols, std::int64_t(8));
  QCOMPARE(q->parameters(), std::int64_t(72));
  make_model(path_of(dir) / "missing", config, tiny_tensors());
  QVERIFY(opened(path_of(dir) / "missing")->why_not_runnable.find("bias is missing") !=
          std::string::npos);
}

void TestCheckpoint::rope_scaling() {
  QTemporaryDir dir;
  auto config = tiny_config();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  make_model(path_of(dir) / "linear", config, tiny_tensors());
  QCOMPARE(opened(path_of(dir) / "linear")->spec->rope.factors, (std::vector<float>{4, 4}));
  config["rope_scaling"] = nullptr;
  config["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                               {"factor", 8.0},           {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 64}};
  make_model(path_of(dir) / "llama3", config, tiny_tensors());
  const auto llama3 = opened(path_of(dir) / "llama3");
  QCOMPARE(llama3->spec->rope.theta, 500000.0f);
  // Wavelengths 2 pi and 2 pi * 707: below 64 / 4, and above 64.
  QCOMPARE(llama3->spec->rope.factors, (std::vector<float>{1, 8}));
  config["rope_parameters"]["original_max_position_embeddings"] = 8192;
  make_model(path_of(dir) / "between", config, tiny_tensors());
  const double smooth = (8192 / (2 * 3.14159265358979 * std::sqrt(500000.0)) - 1) / 3;
  QCOMPARE(opened(path_of(dir) / "between")->spec->rope.factors[1],
           float(1 / ((1 - smooth) / 8 + smooth)));
  QVERIFY(noted(*llama3, "llama3, factor 8"));

  // One entry per kind of layer, and an older kind with settings of its own.
  config["rope_parameters"] = {{"full_attention", {{"rope_theta", 7.0}}}};
  make_model(path_of(dir) / "nested", config, tiny_tensors());
  QCOMPARE(opened(path_of(dir) / "nested")->spec->rope.theta, 7.0f);
  config.erase("rope_parameters");
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"attention_factor", 1.5}};
  make_model(path_of(dir) / "yarn", config, tiny_tensors());
  const auto yarn = opened(path_of(dir) / "yarn");
  QCOMPARE(yarn->spec->rope.attention_factor, 1.5f);
  QCOMPARE(yarn->spec->rope.original_context, yarn->spec->context);
  config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  make_model(path_of(dir) / "dynamic", config, tiny_tensors());
  QCOMPARE(opened(path_of(dir) / "dynamic")->spec->rope.dynamic_factor, 2.0f);
}

void TestCheckpoint::not_runnable_but_inspectable_data() {
  QTest::addColumn<QString>("key");
  QTest::addColumn<QString>("value");
  QTest::addColumn<QString>("says");
  QTest::newRow("heads") << "num_key_value_heads"
                         << "3"
                         << "cannot share";
  QTest::newRow("activation") << "hidden_act"
                              << "\"mish\""
                              << "mish";
  QTest::newRow("scaling") << "rope_scaling"
                           << R"({"rope_type":"ntk-parts","factor":4})"
                           << "ntk-parts";
  QTest::newRow("no factor") << "rope_scaling"
                             << R"({"rope_type":"linear"})"
                             << "factor";
  QTest::newRow("long factors")
      << "rope_scaling"
      << R"({"rope_type":"longrope","short_factor":[1,1],"long_factor":[1]})"
      << "long_factor";
  QTest::newRow("huge layers") << "num_hidden_layers"
                               << "4611686018427387904"
                               << "num_hidden_layers";
  QTest::newRow("many layers") << "num_hidden_layers"
                               << "2"
                               << "is missing";
  QTest::newRow("more layers than weights") << "num_hidden_layers"
                                            << "100000"
                                            << "100000 layers, but only 12 weights";
  QTest::newRow("huge heads") << "head_dim"
                              << "268435456"
                              << "head_dim";
  QTest::newRow("negative") << "hidden_size"
                            << "-8"
                            << "hidden_size";
  QTest::newRow("text") << "hidden_size"
                        << "\"8\""
                        << "hidden_size";
  QTest::newRow("absent") << "hidden_size"
                          << "null"
                          << "hidden_size";
  QTest::newRow("fraction") << "vocab_size"
                            << "10.5"
                            << "vocab_size";
  QTest::newRow("other shape") << "vocab_size"
                               << "11"
                               << "[10, 8] instead of [11, 8]";
  QTest::newRow("theta") << "rope_theta"
                         << "0"
                         << "rope_theta";
  QTest::newRow("odd head") << "head_dim"
                            << "3"
                            << "odd";
  QTest::newRow("aqlm") << "quantization_config"
                        << R"({"quant_method":"aqlm","num_codebooks":1})"
                        << "aqlm";
  QTest::newRow("no architecture") << "architectures"
                                   << "[]"
                                   << "cannot";
}

void TestCheckpoint::not_runnable_but_inspectable() {
  QFETCH(QString, key);
  QFETCH(QString, value);
  QFETCH(QString, says);
  QTemporaryDir dir;
  auto config = tiny_config();
  config[key.toStdString()] = Json::parse(value.toStdString());
  if (key == "architectures")
    config["model_type"] = "mystery";
  make_model(path_of(dir), config, tiny_tensors());
  const auto model = opened(path_of(dir));
  QVERIFY(!model->spec);
  QVERIFY2(model->why_not_runnable.find(says.toStdString()) != std::string::npos ||
               key == "architectures",
           model->why_not_runnable.c_str());
  QVERIFY(!model->why_not_runnable.empty());
  QCOMPARE(model->modules.size(), std::size_t(12));
  QVERIFY(!model->tokenizer);
  QVERIFY(!model->tokenizer_problem.empty());
}

void TestCheckpoint::unknown_architecture() {
  QTemporaryDir dir;
  std::vector<TensorToWrite> tensors{zeros("backbone.embed.weight", "BF16", {10, 8}),
                                     zeros("backbone.lm_head.weight", "BF16", {10, 8}),
                                     zeros("backbone.norm_f.weight", "BF16", {8})};
  for (const int i : {0, 2, 10})
    for (const char* name : {"mixer.in_proj", "mixer.out_proj"})
      tensors.push_back(
          zeros("backbone.layers." + std::to_string(i) + "." + name + ".weight", "BF16", {8, 8}));
  tensors.push_back(zeros("backbone.layers.0.conv.weight", "F16", {4, 1, 3}));
  tensors.push_back(zeros("backbone.layers.0.A_log", "F32", {8}));
  make_model(path_of(dir), {{"architectures", {"MambaForCausalLM"}}}, tensors);
  const auto model = opened(path_of(dir));
  QCOMPARE(model->architecture, std::string("MambaForCausalLM"));
  QVERIFY(model->why_not_runnable.find("it has") == std::string::npos);
  make_model(path_of(dir) / "experts",
             {{"architectures", {"DeepseekV3ForCausalLM"}},
              {"n_routed_experts", 8},
              {"kv_lora_rank", 512},
              {"is_encoder_decoder", false}},
             tensors);
  const auto experts = opened(path_of(dir) / "experts");
  const auto& why = experts->why_not_runnable;
  QVERIFY2(why.find("it has a mixture of experts, compressed keys and values (MLA);") !=
               std::string::npos,
           why.c_str());
  QVERIFY(model->why_not_runnable.find("MambaForCausalLM") != std::string::npos);
  QCOMPARE(model->modules.front().role, std::string("embedding"));
  QCOMPARE(model->modules.back().role, std::string("lm_head"));
  QCOMPARE(model->modules[model->modules.size() - 2].role, std::string("norm"));
  std::vector<int> layers;
  for (const auto& module : model->modules)
    if (module.layer >= 0 && (layers.empty() || layers.back() != module.layer))
      layers.push_back(module.layer);
  QCOMPARE(layers, (std::vector<int>{0, 2, 10}));
  const auto* in = model->find_module("backbone.layers.10.mixer.in_proj");
  QVERIFY(in && in->linear);
  QCOMPARE(in->role, std::string("linear"));
  QCOMPARE(model->find_module("backbone.layers.0.conv")->role, std::string("other"));
  QVERIFY(!model->find_module("backbone.layers.0.conv")->linear);
  QCOMPARE(model->others.size(), std::size_t(1));

  fs::remove(path_of(dir) / "config.json");
  const auto bare = opened(path_of(dir));
  QCOMPARE(bare->architecture, std::string("unknown"));
  QVERIFY(bare->why_not_runnable.find("config.json") != std::string::npos);
  put(path_of(dir) / "config.json", "{");
  QVERIFY(opened(path_of(dir))->why_not_runnable.find("config.json") != std::string::npos);
}

void TestCheckpoint::unused_tensors() {
  QTemporaryDir dir;
  auto tensors = tiny_tensors();
  tensors.push_back(zeros("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2}));
  tensors.push_back(zeros("model.extra.weight", "F32", {2, 2}));
  make_model(path_of(dir), tiny_config(), tensors);
  const auto model = opened(path_of(dir));
  QVERIFY2(model->spec.has_value(), model->why_not_runnable.c_str());
  QCOMPARE(model->others.size(), std::size_t(1)); // frequencies can be computed: no word about them
  QVERIFY(!noted(*model, "inv_freq"));
  QVERIFY(noted(*model, "16 bytes"));

  QTemporaryDir other;
  make_model(path_of(other), tiny_config(), tiny_tensors(true, false, "F64"));
  const auto doubles = opened(path_of(other));
  QVERIFY(doubles->why_not_runnable.find("f64") != std::string::npos);
  QCOMPARE(doubles->modules.size(), std::size_t(12));
  QCOMPARE(doubles->modules[0].dtype(), std::string("F64"));
}

void TestCheckpoint::other_prefixes_data() {
  QTest::addColumn<QString>("model"); ///< instead of "model."
  QTest::addColumn<QString>("head");  ///< before "lm_head"
  QTest::newRow("bare") << ""
                        << "";
  QTest::newRow("text part") << "language_model.model."
                             << "language_model.";
  QTest::newRow("text part, later") << "model.language_model."
                                    << "";
  QTest::newRow("deeper") << "thinker.model."
                          << "thinker.";
}

void TestCheckpoint::other_prefixes() {
  QFETCH(QString, model);
  QFETCH(QString, head);
  QTemporaryDir dir;
  auto tensors = tiny_tensors();
  for (auto& tensor : tensors)
    tensor.name = tensor.name.rfind("model.", 0) == 0 ? model.toStdString() + tensor.name.substr(6)
                                                      : head.toStdString() + tensor.name;
  // Another tower whose layers are called alike.
  tensors.push_back(zeros("vision_tower.layers.0.input_layernorm.weight", "BF16", {8}));
  make_model(path_of(dir) / "in", tiny_config(), tensors);
  const auto opened_model = opened(path_of(dir) / "in");
  QVERIFY2(opened_model->spec.has_value(), opened_model->why_not_runnable.c_str());
  const auto* q = opened_model->find_module("model.layers.0.self_attn.q_proj");
  QVERIFY(q);
  QCOMPARE(q->hf_name(), model.toStdString() + "layers.0.self_attn.q_proj");
  QVERIFY(q == opened_model->find_part(0, "q"));
  QVERIFY(opened_model->find_module("lm_head"));
  QVERIFY(!opened_model->find_module("lm_head")->tied_to_embedding);
  QCOMPARE(opened_model->others.size(), std::size_t(1));
  QVERIFY(noted(*opened_model, "vision_tower"));
  QVERIFY(noted(*opened_model, "\"model.\""));
  Feedback feedback; // exports keep the names of the source
  const auto out = run_export(*opened_model, *find_exporter("safetensors"),
                              {path_of(dir) / "out", "tiny", false}, feedback);
  QVERIFY2(out.ok(), out.ok() ? "" : out.error().text().c_str());
  const auto written = read_safetensors_folder(path_of(dir) / "out");
  std::set<std::string> before, after;
  for (const auto& tensor : tensors)
    before.insert(tensor.name);
  for (const auto& tensor : written->tensors)
    after.insert(tensor.name);
  QVERIFY(before == after);
}

void TestCheckpoint::single_file() {
  QTemporaryDir dir;
  make_model(path_of(dir), tiny_config(), tiny_tensors());
  const auto model = opened(path_of(dir) / "model.safetensors");
  QVERIFY(model->spec.has_value());
  QCOMPARE(model->path, path_of(dir)); // the file stands for its folder
  QCOMPARE(model->name, path_of(dir).filename().string());
}

void TestCheckpoint::errors() {
  QTemporaryDir dir;
  const auto missing = open_checkpoint(path_of(dir) / "no");
  QCOMPARE(missing.error().code, std::string("not-found"));
  const auto empty = open_checkpoint(path_of(dir));
  QVERIFY(!empty.ok());
  QCOMPARE(empty.error().code, std::string("bad-file"));
  put(path_of(dir) / "text.txt", "hello");
  QVERIFY(!open_checkpoint(path_of(dir) / "text.txt").ok());
  put(path_of(dir) / "model.safetensors", "hello there");
  QVERIFY(!open_checkpoint(path_of(dir)).ok());
}

QTEST_GUILESS_MAIN(TestCheckpoint)
#include "tst_checkpoint.moc"
