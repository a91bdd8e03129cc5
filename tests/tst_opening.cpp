// SPDX-License-Identifier: GPL-3.0-or-later
// Opening by content: caches of other programs, links, shards, blobs and everything that is no
// model; and the list of the models on a machine.
#include "core/eval/weight_compare.h"
#include "core/model/checkpoint.h"
#include "core/model/content.h"
#include "core/model/locate.h"
#include "core/model/stores.h"
#include "core/model/summary.h"
#include "tests/support.h"

#include <fstream>
#include <QTemporaryDir>
#include <QTest>
#include <sys/stat.h>
#include <unistd.h>

using namespace bitlathe;

namespace {

const std::string digest(64, 'a'), template_digest(64, 'b'), settings_digest(64, 'c');

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

TensorToWrite tensor(const std::string& name, std::vector<std::int64_t> shape,
                     const std::string& dtype = "F32") {
  std::uint64_t bytes = 4;
  for (const auto n : shape)
    bytes *= std::uint64_t(n);
  return {name, dtype, std::move(shape), bytes, [bytes](OutputFile& file) {
            return file.write(std::vector<std::byte>(bytes, std::byte(1)));
          }};
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
          {"rope_theta", 500000.0},
          {"torch_dtype", "bfloat16"},
          {"tie_word_embeddings", true},
          {"max_position_embeddings", 64}};
}

std::vector<TensorToWrite> tiny_tensors() {
  const std::string l = "model.layers.0.";
  return {tensor("model.embed_tokens.weight", {10, 8}),
          tensor(l + "input_layernorm.weight", {8}),
          tensor(l + "self_attn.q_proj.weight", {8, 8}),
          tensor(l + "self_attn.k_proj.weight", {4, 8}),
          tensor(l + "self_attn.v_proj.weight", {4, 8}),
          tensor(l + "self_attn.o_proj.weight", {8, 8}),
          tensor(l + "post_attention_layernorm.weight", {8}),
          tensor(l + "mlp.gate_proj.weight", {12, 8}),
          tensor(l + "mlp.up_proj.weight", {12, 8}),
          tensor(l + "mlp.down_proj.weight", {8, 12}),
          tensor("model.norm.weight", {8})};
}

/// A model folder in one file, or in shards of one tensor or two.
void make_folder(const fs::path& folder, bool sharded = false) {
  fs::create_directories(folder);
  put(folder / "config.json", tiny_config().dump());
  const auto done = write_safetensors_folder(folder, tiny_tensors(), sharded ? 600 : 1 << 30);
  QVERIFY2(done.ok(), done.ok() ? "" : done.error().text().c_str());
}

void make_gguf(const fs::path& path, std::uint32_t file_type = 15, const std::string& type = "") {
  fs::create_directories(path.parent_path());
  GgufMetadata metadata{{"general.architecture", GgufValue::string("mystery")},
                        {"general.name", GgufValue::string("Mystery 1B")},
                        {"general.file_type", GgufValue::u32(file_type)},
                        {"mystery.block_count", GgufValue::u32(1)},
                        {"tokenizer.ggml.scores", GgufValue::f32s(std::vector<float>(20))}};
  if (!type.empty())
    metadata.emplace_back("general.type", GgufValue::string(type));
  std::vector<TensorToWrite> tensors;
  tensors.push_back(tensor("blk.0.attn_q.weight", {8, 32}, "f32"));
  const auto done = write_gguf(path, metadata, std::move(tensors));
  QVERIFY2(done.ok(), done.ok() ? "" : done.error().text().c_str());
}

/// The layout of the Hugging Face cache: blobs, a snapshot of links, refs.
fs::path make_repository(const fs::path& hub, const std::string& id, const std::string& revision,
                         bool main = true) {
  const auto repository = hub / ("models--" + id);
  QTemporaryDir made;
  make_folder(path_of(made));
  fs::create_directories(repository / "blobs");
  fs::create_directories(repository / "snapshots" / revision);
  for (const char* name : {"config.json", "model.safetensors"}) {
    const auto blob = std::string(name[0] == 'c' ? "aaaa" : "bbbb") + revision;
    fs::copy_file(path_of(made) / name, repository / "blobs" / blob,
                  fs::copy_options::overwrite_existing);
    fs::create_symlink("../../blobs/" + blob, repository / "snapshots" / revision / name);
  }
  if (main)
    put(repository / "refs" / "main", revision);
  return repository;
}

/// A models folder of Ollama with one model; returns its manifest.
fs::path make_ollama(const fs::path& root, const std::string& tag = "1b") {
  make_gguf(root / "blobs" / ("sha256-" + digest));
  put(root / "blobs" / ("sha256-" + template_digest), "{{ .Prompt }}");
  put(root / "blobs" / ("sha256-" + settings_digest),
      R"({"model_format":"gguf","model_family":"llama","model_type":"1.2B","file_type":"Q8_0"})");
  const auto manifest = root / "manifests/registry.ollama.ai/library/llama3.2" / tag;
  const auto layer = [](const std::string& type, const std::string& hex, int size) {
    return Json{{"mediaType", type}, {"digest", "sha256:" + hex}, {"size", size}};
  };
  put(manifest,
      Json{{"schemaVersion", 2},
           {"mediaType", "application/vnd.docker.distribution.manifest.v2+json"},
           {"config", layer("application/vnd.docker.container.image.v1+json", settings_digest, 90)},
           {"layers",
            {layer("application/vnd.ollama.image.model", digest, 1300),
             layer("application/vnd.ollama.image.template", template_digest, 13)}}}
          .dump());
  return manifest;
}

std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto result = open_checkpoint(path);
  if (!result)
    qWarning("%s", result.error().text().c_str());
  return result ? *result : nullptr;
}

bool noted(const Checkpoint& checkpoint, const std::string& part) {
  for (const auto& note : checkpoint.notes)
    if (note.find(part) != std::string::npos)
      return true;
  return false;
}

/// The message of the error that opening gives; empty when it opened.
std::string refusal(const fs::path& path) {
  const auto result = open_checkpoint(path);
  if (result)
    return {};
  if (result.error().where.empty())
    return "no file named";
  return result.error().message;
}

bool holds(const std::string& text, const char* part) {
  if (text.find(part) == std::string::npos)
    qWarning("\"%s\" lacks \"%s\"", text.c_str(), part);
  return text.find(part) != std::string::npos;
}

} // namespace

class TestOpening : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void kinds();
  void files_without_endings();
  void hugging_face_cache();
  void several_snapshots();
  void broken_caches();
  void ollama();
  void ollama_refusals();
  void studio_folders();
  void files_of_a_folder();
  void split_gguf();
  void not_models();
  void folders_of_models();
  void adapters();
  void results_in_a_circle();
  void finds_models();
  void tolerates_what_it_cannot_read();
  void usual_places();
  void summaries();
  void metadata_lines();
  void matches_modules();
};

void TestOpening::kinds() {
  QTemporaryDir dir;
  const auto kind = [&](const std::string& bytes) {
    put(path_of(dir) / "file", bytes);
    return std::string(content_kind(path_of(dir) / "file"));
  };
  const auto zip = [](const std::string& name) {
    std::string head("PK\x03\x04", 4);
    head.resize(26, '\0');
    head += char(name.size());
    head += '\0';
    head += std::string(2, '\0') + name;
    return head;
  };
  QCOMPARE(kind(""), std::string("empty"));
  QCOMPARE(kind("GGUF"), std::string("gguf"));
  QCOMPARE(kind("lmgg1234"), std::string("ggml"));
  QCOMPARE(kind("tjgg1234"), std::string("ggml"));
  QCOMPARE(kind(std::string("\x02\0\0\0\0\0\0\0{}", 10)), std::string("safetensors"));
  QCOMPARE(kind(std::string("\x09\0\0\0\0\0\0\0{}", 10)), std::string("unknown")); // cut off
  QCOMPARE(kind(zip("archive/data.pkl")), std::string("pytorch"));
  QCOMPARE(kind(zip("model/.format_version")), std::string("pytorch"));
  QCOMPARE(kind(zip("arr_0.npy")), std::string("numpy"));
  QCOMPARE(kind(zip("word/document.xml")), std::string("zip"));
  QCOMPARE(kind("\x80\x02\x8a\x0a"), std::string("pytorch"));
  QCOMPARE(kind("\x89HDF\r\n"), std::string("hdf5"));
  QCOMPARE(kind("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n"),
           std::string("lfs"));
  QCOMPARE(kind("\n<!DOCTYPE html><html>"), std::string("html"));
  QCOMPARE(kind("  {\"a\": 1}"), std::string("json"));
  QCOMPARE(kind("hello"), std::string("text"));
  QCOMPARE(kind(std::string(511, 'a') + "\xc3\xa4"), std::string("text")); // cut inside a character
  QCOMPARE(kind(std::string("ab\0cd", 5)), std::string("unknown"));
  QCOMPARE(std::string(content_kind(path_of(dir))), std::string("none"));
  QCOMPARE(quant_of_name("Llama-3.2-1B-Instruct-Q4_K_M.gguf"), std::string("Q4_K_M"));
  QCOMPARE(quant_of_name("x.IQ2_XXS-00001-of-00002.gguf"), std::string("IQ2_XXS"));
  QCOMPARE(quant_of_name("model-f16.gguf"), std::string("F16"));
  QCOMPARE(quant_of_name("mbf16x.gguf"), std::string());
}

void TestOpening::files_without_endings() {
  QTemporaryDir dir;
  make_folder(path_of(dir) / "model");
  fs::copy_file(path_of(dir) / "model/model.safetensors", path_of(dir) / "weights");
  const auto plain = opened(path_of(dir) / "weights");
  QVERIFY(plain);
  QCOMPARE(plain->format, std::string("safetensors"));
  QCOMPARE(plain->name, std::string("weights"));
  make_gguf(path_of(dir) / "b" / "some.bin");
  QCOMPARE(opened(path_of(dir) / "b" / "some.bin")->format, std::string("gguf"));
  // A folder whose only model has no ending.
  make_gguf(path_of(dir) / "c" / "model");
  put(path_of(dir) / "c" / "LICENSE", "free");
  const auto bare = opened(path_of(dir) / "c");
  QVERIFY(bare);
  QCOMPARE(bare->format, std::string("gguf"));
}

void TestOpening::hugging_face_cache() {
  QTemporaryDir dir;
  const auto repository = make_repository(path_of(dir) / "hub", "org--small", "0123456789abcdef");
  const auto snapshot = repository / "snapshots/0123456789abcdef";
  for (const auto& way :
       {repository, repository / "snapshots", snapshot, snapshot / "model.safetensors",
        snapshot / "config.json", repository / "blobs/bbbb0123456789abcdef", path_of(dir) / "hub",
        fs::path(snapshot.string() + "/")}) {
    const auto model = opened(way);
    QVERIFY2(model, way.c_str());
    QCOMPARE(model->name, std::string("small"));
    QVERIFY2(model->spec, way.c_str());
    QCOMPARE(plain_path(model->path), snapshot);
    QCOMPARE(model->modules.size(), std::size_t(12));
  }
  QVERIFY(noted(*opened(repository / "blobs/bbbb0123456789abcdef"), "blob"));
  QVERIFY(opened(snapshot)->notes.size() <= opened(repository)->notes.size());
}

void TestOpening::several_snapshots() {
  QTemporaryDir dir;
  const auto repository = make_repository(path_of(dir), "org--small", "aaaa", false);
  make_repository(path_of(dir), "org--small", "bbbb", true);
  make_repository(path_of(dir), "org--small", "cccc", false);
  const auto model = opened(repository);
  QVERIFY(model);
  QCOMPARE(model->path.filename().string(), std::string("bbbb"));
  QVERIFY(noted(*model, "3 snapshots"));
  QVERIFY(noted(*model, "refs/main"));
  // refs/main may point to a snapshot of which only the configuration was fetched.
  fs::remove(repository / "snapshots/bbbb/model.safetensors");
  fs::last_write_time(repository / "snapshots/aaaa",
                      fs::file_time_type::clock::now() + std::chrono::hours(1));
  const auto newest = opened(repository);
  QVERIFY(newest);
  QCOMPARE(newest->path.filename().string(), std::string("aaaa"));
  QVERIFY(noted(*newest, "newest"));
}

void TestOpening::broken_caches() {
  QTemporaryDir dir;
  const auto repository = make_repository(path_of(dir), "org--small", "aaaa");
  put(repository / "blobs/dddd.incomplete", "part");
  fs::remove(repository / "blobs/bbbbaaaa");
  QVERIFY(holds(refusal(repository / "snapshots/aaaa/model.safetensors"), "../../blobs/bbbbaaaa"));
  QVERIFY(!refusal(repository).empty());
  fs::remove(repository / "snapshots/aaaa/model.safetensors");
  QVERIFY(holds(refusal(repository), "no weights"));
  QVERIFY(holds(refusal(repository), "not finished"));
  fs::remove_all(repository / "snapshots");
  fs::create_directory(repository / "snapshots");
  QVERIFY(holds(refusal(repository), "no snapshot"));
  QVERIFY(holds(refusal(repository / "blobs/dddd.incomplete"), "not finished"));
  fs::create_symlink("loop", path_of(dir) / "loop");
  QVERIFY(!refusal(path_of(dir) / "loop").empty());
}

void TestOpening::ollama() {
  QTemporaryDir dir;
  const auto root = path_of(dir) / ".ollama/models";
  const auto manifest = make_ollama(root);
  for (const auto& way : {manifest, root, manifest.parent_path(), root / "manifests",
                          root / "blobs", root / "blobs" / ("sha256-" + digest)}) {
    const auto model = opened(way);
    QVERIFY2(model, way.c_str());
    QCOMPARE(model->format, std::string("gguf"));
    QCOMPARE(model->name, std::string("llama3.2-1b"));
  }
  make_ollama(root, "3b");
  QVERIFY(holds(refusal(root), "llama3.2:1b"));
  QVERIFY(holds(refusal(root), "llama3.2:3b"));
  QVERIFY(holds(refusal(manifest.parent_path()), "(1b)"));
  const auto read = read_ollama_manifest(manifest);
  QVERIFY(read.ok());
  QCOMPARE(read->quant, std::string("Q8_0"));
  QCOMPARE(read->bytes, std::uint64_t(1300));
}

void TestOpening::ollama_refusals() {
  QTemporaryDir dir;
  const auto root = path_of(dir);
  const auto manifest = make_ollama(root);
  const auto blob = refusal(root / "blobs" / ("sha256-" + template_digest));
  QVERIFY(holds(blob, "template"));
  QVERIFY(holds(blob, "llama3.2:1b"));
  QVERIFY(holds(blob, digest.c_str()));
  QVERIFY(holds(refusal(root / "blobs" / ("sha256-" + settings_digest)), "settings"));
  put(root / "blobs" / ("sha256-" + digest + "-partial"), "\x01\x02\x03");
  QVERIFY(holds(refusal(root / "blobs" / ("sha256-" + digest + "-partial")), "not finished"));
  fs::remove(root / "blobs" / ("sha256-" + digest));
  QVERIFY(holds(refusal(manifest), "missing"));
  // A digest must not lead out of the folder.
  auto json = *read_json_file(manifest);
  json["layers"][0]["digest"] = "sha256:../../../../../../../../../../../../../../../../etc/passwd";
  put(manifest, json.dump());
  QVERIFY(holds(refusal(manifest), "malformed"));
  json["layers"] = Json::array({{{"mediaType", "application/vnd.ollama.image.license"}}});
  put(manifest, json.dump());
  QVERIFY(holds(refusal(manifest), "no weights"));
}

void TestOpening::studio_folders() {
  QTemporaryDir dir;
  const auto folder = path_of(dir) / "publisher/model-GGUF";
  make_gguf(folder / "model-Q4_K_M.gguf");
  make_gguf(folder / "mmproj-model-f16.gguf", 1, "mmproj");
  const auto one = opened(folder);
  QVERIFY(one);
  QCOMPARE(one->name, std::string("model-Q4_K_M"));
  QVERIFY(noted(*one, "mmproj"));
  QVERIFY(opened(path_of(dir) / "publisher"));
  make_gguf(folder / "model-Q8_0.gguf", 7);
  const auto several = refusal(folder);
  QVERIFY(holds(several, "model-Q4_K_M.gguf"));
  QVERIFY(holds(several, "model-Q8_0.gguf"));
  QVERIFY(several.find("mmproj") == std::string::npos);
}

void TestOpening::files_of_a_folder() {
  QTemporaryDir dir;
  make_folder(path_of(dir) / "shards", true);
  const auto whole = opened(path_of(dir) / "shards");
  QVERIFY(whole && whole->spec);
  int shards = 0;
  for (const auto& entry : entries_of(path_of(dir) / "shards", 100)) {
    const auto model = opened(entry);
    QVERIFY2(model, entry.c_str());
    QCOMPARE(model->modules.size(), whole->modules.size());
    QCOMPARE(model->name, std::string("shards"));
    shards += entry.extension() == ".safetensors" && noted(*model, "one shard");
  }
  QVERIFY(shards > 2);
  // A file that is no part of the model stays alone.
  fs::copy_file(entries_of(path_of(dir) / "shards", 100)[1],
                path_of(dir) / "shards/extra.safetensors");
  const auto alone = opened(path_of(dir) / "shards/extra.safetensors");
  QVERIFY(alone);
  QVERIFY(alone->modules.size() < whole->modules.size());
}

void TestOpening::split_gguf() {
  QTemporaryDir dir;
  for (int part = 0; part < 2; ++part) {
    GgufMetadata metadata{{"general.architecture", GgufValue::string("mystery")},
                          {"split.no", GgufValue{2, 0, std::uint64_t(part)}},
                          {"split.count", GgufValue{2, 0, std::uint64_t(2)}},
                          {"split.tensors.count", GgufValue{5, 0, std::int64_t(2)}}};
    std::vector<TensorToWrite> tensors;
    tensors.push_back(tensor("t" + std::to_string(part) + ".weight", {4, 32}, "f32"));
    const auto name = "m-Q8_0-0000" + std::to_string(part + 1) + "-of-00002.gguf";
    QVERIFY(write_gguf(path_of(dir) / name, metadata, std::move(tensors)).ok());
  }
  const auto second = opened(path_of(dir) / "m-Q8_0-00002-of-00002.gguf");
  QVERIFY(second);
  QCOMPARE(second->modules.size(), std::size_t(2));
  QVERIFY(noted(*second, "part 2 of 2"));
  QCOMPARE(opened(path_of(dir))->modules.size(), std::size_t(2));
  const auto described = describe_model(path_of(dir) / "m-Q8_0-00001-of-00002.gguf");
  QVERIFY(described.problem.empty());
  fs::remove(path_of(dir) / "m-Q8_0-00002-of-00002.gguf");
  QVERIFY(holds(describe_model(path_of(dir) / "m-Q8_0-00001-of-00002.gguf").problem, "missing"));
  QVERIFY(!refusal(path_of(dir)).empty());
}

void TestOpening::not_models() {
  QTemporaryDir dir;
  const auto at = [&](const std::string& name, const std::string& bytes) {
    put(path_of(dir) / name, bytes);
    return refusal(path_of(dir) / name);
  };
  QVERIFY(holds(at("a/pytorch_model.bin", "\x80\x02xyz"), "safetensors"));
  QVERIFY(holds(refusal(path_of(dir) / "a"), "pytorch_model.bin"));
  QVERIFY(holds(at("b/model.pt", "\x80\x02xyz"), "pickle"));
  QVERIFY(holds(at("c/model.safetensors",
                   "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
                "Git LFS"));
  QVERIFY(holds(refusal(path_of(dir) / "c"), "git lfs pull"));
  QVERIFY(
      holds(at("d/model.gguf", "<!DOCTYPE html><html><body>Not found</body></html>"), "web page"));
  QVERIFY(holds(refusal(path_of(dir) / "d"), "web page"));
  QVERIFY(holds(at("e/ggml-model.bin", "lmgg0123456789"), "GGUF"));
  QVERIFY(holds(at("f/empty.gguf", ""), "empty"));
  QVERIFY(holds(at("g/notes.txt", "hello"), "text file"));
  QVERIFY(holds(at("g/config.json", "{}"), "JSON"));
  QVERIFY(holds(refusal(path_of(dir) / "g"), "no weights"));
  fs::create_directory(path_of(dir) / "h");
  QVERIFY(holds(refusal(path_of(dir) / "h"), "empty"));
  QVERIFY(holds(refusal("/dev/null"), "neither"));
  QCOMPARE(::mkfifo((path_of(dir) / "pipe").c_str(), 0600), 0);
  QVERIFY(holds(refusal(path_of(dir) / "pipe"), "neither"));
  QVERIFY(holds(at("i/tf_model.h5", "\x89HDF\r\n\x1a\n"), "HDF5"));
  if (::geteuid() != 0) { // root reads everything
    put(path_of(dir) / "secret", "GGUF");
    ::chmod((path_of(dir) / "secret").c_str(), 0);
    QVERIFY(holds(refusal(path_of(dir) / "secret"), "permission"));
  }
}

void TestOpening::folders_of_models() {
  QTemporaryDir dir;
  make_folder(path_of(dir) / "only/model");
  const auto only = opened(path_of(dir) / "only");
  QVERIFY(only);
  QCOMPARE(only->name, std::string("model"));
  QVERIFY(noted(*only, "\"model\""));
  make_folder(path_of(dir) / "pipeline/text_encoder");
  make_folder(path_of(dir) / "pipeline/unet");
  put(path_of(dir) / "pipeline/model_index.json", "{}");
  const auto several = refusal(path_of(dir) / "pipeline");
  QVERIFY(holds(several, "text_encoder"));
  QVERIFY(holds(several, "unet"));
  make_repository(path_of(dir) / "hub", "a--b", "1111");
  make_repository(path_of(dir) / "hub", "c--d", "2222");
  QVERIFY(holds(refusal(path_of(dir) / "hub"), "models--a--b"));
}

void TestOpening::adapters() {
  QTemporaryDir dir;
  std::vector<TensorToWrite> tensors;
  const std::string stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
  tensors.push_back(tensor(stem + "A.weight", {4, 8}));
  tensors.push_back(tensor(stem + "B.weight", {8, 4}));
  QVERIFY(write_safetensors(path_of(dir) / "adapter_model.safetensors", std::move(tensors), {}));
  put(path_of(dir) / "adapter_config.json",
      R"({"peft_type": "LORA", "r": 4, "base_model_name_or_path": "org/base"})");
  for (const auto& way : {path_of(dir), path_of(dir) / "adapter_model.safetensors",
                          path_of(dir) / "adapter_config.json"}) {
    const auto model = opened(way);
    QVERIFY(model);
    QCOMPARE(model->modules.size(), std::size_t(2));
    QVERIFY(holds(model->why_not_runnable, "org/base"));
    QVERIFY(holds(model->why_not_runnable, "rank 4"));
  }
}

void TestOpening::results_in_a_circle() {
  QTemporaryDir dir;
  const auto result = [](const fs::path& source) {
    return Json{{"bitlathe_result", 1},
                {"source", source.string()},
                {"recipe", {{"version", 1}, {"default", {{"scheme", "bf16"}}}}}}
        .dump();
  };
  put(path_of(dir) / "a/result.json", result(path_of(dir) / "b"));
  put(path_of(dir) / "b/result.json", result(path_of(dir) / "a"));
  QVERIFY(holds(refusal(path_of(dir) / "a"), "without an end"));
  // A file of another program with that name does not hide the model beside it.
  make_folder(path_of(dir) / "c");
  put(path_of(dir) / "c/result.json", R"({"accuracy": 0.5})");
  QVERIFY(opened(path_of(dir) / "c"));
}

void TestOpening::finds_models() {
  QTemporaryDir dir;
  const auto home = path_of(dir);
  const auto hub = home / ".cache/huggingface/hub";
  make_repository(hub, "org--small", "aaaa");
  const auto broken = make_repository(hub, "org--broken", "bbbb");
  fs::remove(broken / "blobs/bbbbbbbb");
  put(hub / "models--org--onlyconfig/snapshots/cccc/config.json", "{}");
  put(hub / "datasets--org--data/snapshots/dddd/data.parquet", "PAR1");
  make_ollama(home / ".ollama/models");
  make_gguf(home / ".lmstudio/models/pub/model-GGUF/model-Q4_K_M.gguf");
  make_gguf(home / ".lmstudio/models/pub/model-GGUF/model-Q8_0.gguf", 7);
  make_folder(home / ".lmstudio/models/mlx/small");
  make_gguf(home / "recent-f16.gguf", 1);
  const std::vector<ModelPlace> places{{"huggingface", hub},
                                       {"huggingface", home / "nowhere"},
                                       {"huggingface", hub / "../hub"},
                                       {"ollama", home / ".ollama/models"},
                                       {"lmstudio", home / ".lmstudio/models"}};
  Feedback feedback;
  const auto found =
      locate_models(places, {home / "recent-f16.gguf", home / "gone.gguf"}, feedback);
  const auto find = [&](const std::string& name) -> const LocatedModel* {
    for (const auto& model : found.models)
      if (model.name == name)
        return &model;
    return nullptr;
  };
  QCOMPARE(found.models.size(), std::size_t(8));
  QCOMPARE(found.models[0].name, std::string("recent-f16"));
  QCOMPARE(found.models[0].quant, std::string("F16"));
  QCOMPARE(found.models[1].problem, std::string("Not there any more"));
  const auto* small = find("org/small");
  QVERIFY(small);
  QCOMPARE(small->format, std::string("safetensors"));
  QCOMPARE(small->quant, std::string("bf16"));
  QCOMPARE(small->source, std::string("huggingface"));
  QVERIFY(small->bytes > 1000 && small->modified > 0 && small->problem.empty());
  QVERIFY(find("org/broken") && !find("org/broken")->problem.empty());
  const auto* llama = find("llama3.2:1b");
  QVERIFY(llama);
  QCOMPARE(llama->quant, std::string("Q8_0")); // as Ollama says
  const auto* four = find("pub/model-GGUF/model-Q4_K_M");
  QVERIFY(four);
  QCOMPARE(four->quant, std::string("Q4_K_M"));
  QCOMPARE(find("pub/model-GGUF/model-Q8_0")->quant, std::string("Q8_0"));
  QCOMPARE(find("mlx/small")->format, std::string("safetensors"));
  for (const auto& model : found.models)
    if (model.problem.empty())
      QVERIFY2(open_checkpoint(model.path).ok(), model.name.c_str());
  QCOMPARE(found.places.size(), std::size_t(4)); // one is there twice
  QCOMPARE(found.places[1].exists, false);

  feedback.stop = true;
  const auto stopped = locate_models(places, {}, feedback);
  QVERIFY(stopped.cancelled);
  QVERIFY(stopped.models.empty());
}

void TestOpening::tolerates_what_it_cannot_read() {
  QTemporaryDir dir;
  const auto root = path_of(dir);
  put(root / "hub/models--a--b/snapshots/x", "a file, not a folder");
  put(root / "hub/models--c--d", "a file");
  put(root / "ollama/manifests/host/lib/model/tag", "no JSON");
  put(root / "ollama/manifests/host/lib/model/deep/a/b/c/d/e/f/g/h", "{}");
  fs::create_directories(root / "ollama/blobs");
  put(root / "lms/p/m/broken.gguf", "GGUF");
  fs::create_directories(root / "lms/loop");
  fs::create_directory_symlink(root / "lms", root / "lms/loop/again");
  std::vector<ModelPlace> places{{"huggingface", root / "hub"},
                                 {"ollama", root / "ollama"},
                                 {"lmstudio", root / "lms"},
                                 {"lmstudio", root / "hub/models--c--d"}};
  fs::create_directories(root / "locked/inside");
  if (::geteuid() != 0) {
    ::chmod((root / "locked").c_str(), 0);
    places.push_back({"ollama", root / "locked/inside"});
  }
  const auto found = locate_models(places, {}, Feedback());
  QCOMPARE(found.models.size(), std::size_t(1));
  QVERIFY(!found.models[0].problem.empty());
  if (::geteuid() != 0) {
    QVERIFY(!found.notes.empty());
    ::chmod((root / "locked").c_str(), 0700);
  }
}

void TestOpening::usual_places() {
  const auto keep = qgetenv("HOME");
  QTemporaryDir dir;
  qputenv("HOME", dir.path().toUtf8());
  qputenv("HF_HOME", "/data/hf");
  qputenv("OLLAMA_MODELS", "/data/ollama");
  const auto elsewhere = path_of(dir) / "studio";
  put(path_of(dir) / ".lmstudio-home-pointer", elsewhere.string() + "\n");
  put(elsewhere / "settings.json", R"({"downloadsFolder": "/data/studio"})");
  const auto places = usual_model_places();
  const auto has = [&](const std::string& source, const fs::path& path) {
    for (const auto& place : places)
      if (place.source == source && place.path == path)
        return true;
    return false;
  };
  QVERIFY(has("huggingface", "/data/hf/hub"));
  QVERIFY(has("huggingface", path_of(dir) / ".cache/huggingface/hub"));
  QVERIFY(has("ollama", "/data/ollama"));
  QVERIFY(has("ollama", path_of(dir) / ".ollama/models"));
  QVERIFY(has("lmstudio", "/data/studio"));
  QVERIFY(has("lmstudio", elsewhere / "models"));
  QVERIFY(has("llamacpp", path_of(dir) / ".cache/llama.cpp"));
  qputenv("HOME", keep);
  qunsetenv("HF_HOME");
  qunsetenv("OLLAMA_MODELS");
}

void TestOpening::summaries() {
  QTemporaryDir dir;
  make_folder(path_of(dir));
  auto config = tiny_config();
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 32}};
  config["sliding_window"] = 16;
  put(path_of(dir) / "config.json", config.dump());
  const auto model = opened(path_of(dir));
  QVERIFY(model);
  const auto summary = summarize(*model);
  QCOMPARE(summary.schemes_text(), std::string("f32 × 11"));
  QVERIFY(!summary.mixed);
  QCOMPARE(summary.bits_per_weight, 32.0);
  QCOMPARE(summary.fact("rope"), std::string("theta 500000; scaled: llama3, factor 8, low 1, high "
                                             "4, trained length 32"));
  QCOMPARE(summary.fact("sliding window"), std::string("16 tokens"));
  QCOMPARE(summary.fact("output head"), std::string("tied to the embedding"));
  QCOMPARE(summary.fact("layers"), std::string("1"));
  QVERIFY(summary.fact("tokenizer").rfind("none: ", 0) == 0);
  QCOMPARE(summary.fact("nothing"), std::string());
}

void TestOpening::metadata_lines() {
  QCOMPARE(gguf_value_text(GgufValue::u32(7)), std::string("7"));
  QCOMPARE(gguf_value_text(GgufValue::boolean(true)), std::string("true"));
  QCOMPARE(gguf_value_text(GgufValue::f32(0.1f)), std::string("0.1"));
  QCOMPARE(gguf_value_text(GgufValue::string("a\nb")), std::string("a⏎b"));
  QCOMPARE(gguf_value_text(GgufValue::string("\xff")), std::string("(1 bytes that are not UTF-8)"));
  QCOMPARE(gguf_value_text(GgufValue::string(std::string(200, 'x')), 10),
           std::string("xxxxxxxxxx … (200 bytes)"));
  QCOMPARE(gguf_value_text(GgufValue::string("ääää"), 3), std::string("ä … (8 bytes)"));
  QCOMPARE(gguf_value_text(GgufValue::i32s({1, 2, 3})), std::string("[1, 2, 3]"));
  QVERIFY(
      gguf_value_text(GgufValue::i32s(std::vector<std::int32_t>(1000, 5))).find("(1000 values)") !=
      std::string::npos);
  QCOMPARE(std::string(gguf_value_type(GgufValue::i32s({}))), std::string("array of i32"));
  QCOMPARE(std::string(gguf_value_type(GgufValue{77, 0, std::uint64_t(0)})),
           std::string("unknown"));
}

void TestOpening::matches_modules() {
  QTemporaryDir dir;
  make_folder(path_of(dir) / "a");
  const auto model = opened(path_of(dir) / "a");
  // The same model as a part of a larger one: other names, a block more, another head.
  Json config{{"architectures", {"SomethingNew"}}};
  std::vector<TensorToWrite> tensors;
  for (auto& one : tiny_tensors()) {
    if (one.name.find("q_proj") != std::string::npos)
      one = tensor(one.name, {8, 10});
    one.name = "language_model." + one.name;
    tensors.push_back(std::move(one));
  }
  tensors.push_back(tensor("vision.patch.weight", {4, 4}));
  fs::create_directories(path_of(dir) / "b");
  put(path_of(dir) / "b/config.json", config.dump());
  QVERIFY(write_safetensors_folder(path_of(dir) / "b", std::move(tensors), 1 << 30).ok());
  const auto other = opened(path_of(dir) / "b");
  QVERIFY(model && other);
  const ModuleMatcher matcher(*model, *other);
  const auto compute = std::move(*make_cpu_compute());
  Feedback feedback;
  int same = 0;
  for (const auto& module : model->modules) {
    const Module* found = matcher.find(module);
    if (module.role == "norm" || module.tied_to_embedding)
      continue; // several norms in a block: no guess is made
    QVERIFY2(found, module.name.c_str());
    QCOMPARE(found->name, "language_model." + module.name);
    const auto error = weight_error(module, *found, *compute, feedback);
    if (module.role == "q_proj") {
      QCOMPARE(error.error().code, std::string("mismatch"));
      QVERIFY(holds(error.error().message, "8 x 8 and 8 x 10"));
    } else {
      QVERIFY(error.ok());
      QCOMPARE(error->mse(), 0.0);
      QCOMPARE(error->count, std::uint64_t(module.weight.rows * module.weight.cols));
      ++same;
    }
  }
  QVERIFY(same >= 6);
  bool vision = false;
  for (const auto* left : matcher.left_over())
    vision = vision || left->name == "vision.patch";
  QVERIFY(vision);
  feedback.stop = true;
  QVERIFY(
      weight_error(model->modules[0], other->modules[0], *compute, feedback).error().cancelled());
}

QTEST_GUILESS_MAIN(TestOpening)
#include "tst_opening.moc"
