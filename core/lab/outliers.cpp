// SPDX-License-Identifier: Apache-2.0
#include "core/lab/outliers.h"

#include "core/export/exporter.h"
#include "core/model/assemble.h"
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <random>

namespace bitlathe {

namespace {

constexpr const char* list_file = "outliers.json";

/// A norm and the linears that read what it gives.
struct Place {
  std::size_t norm = 0;
  std::vector<std::size_t> readers;
};

std::vector<Place> places_of(const Checkpoint& checkpoint) {
  std::vector<Place> out;
  const auto index_of = [&](int layer, std::string_view part) {
    const Module* module = checkpoint.find_part(layer, part);
    return module ? std::optional(std::size_t(module - checkpoint.modules.data())) : std::nullopt;
  };
  const auto add = [&](int layer, std::string_view norm,
                       std::initializer_list<std::string_view> parts) {
    const auto at = index_of(layer, norm);
    if (!at)
      return;
    Place place;
    place.norm = *at;
    for (const std::string_view part : parts)
      if (const auto reader = index_of(layer, part))
        place.readers.push_back(*reader);
    if (!place.readers.empty())
      out.push_back(std::move(place));
  };
  for (int layer = 0; layer < int(checkpoint.spec->layers); ++layer) {
    if (checkpoint.find_part(layer, "mlp_norm")) {
      add(layer, "attention_norm", {"q", "k", "v", "qkv"});
      add(layer, "mlp_norm", {"gate", "up", "gate_up"});
    } else if (checkpoint.spec->parallel_residual) { // one norm for both
      add(layer, "attention_norm", {"q", "k", "v", "qkv", "gate", "up", "gate_up"});
    } else {
      add(layer, "attention_norm", {"q", "k", "v", "qkv"});
    }
  }
  return out;
}

std::vector<float> row_of(const QTensor& weight, std::int64_t row) {
  std::vector<float> out(std::size_t(weight.cols));
  const MatrixView view = weight.view();
  view.layout->decode(view, row, 0, weight.cols, out.data());
  return out;
}

bool holds(FloatType type, float value) {
  std::byte buffer[4];
  store_float(type, buffer, 0, value);
  return load_float(type, buffer, 0) == value || std::isnan(value);
}

/// Whether x * y is that product, and not the nearest float to it.
bool exact_product(float x, float y) {
  return double(x) * double(y) == double(x * y) || std::isnan(x); // 24 + 24 bits fit into f64
}

/// New values on the way to the disk: one weight at a time is in memory, however large the model.
/// They lie in a staging folder of the output's, which goes away with them.
class Scratch {
 public:
  static Result<std::unique_ptr<Scratch>> create(const fs::path& target, bool replace) {
    auto out = std::make_unique<Scratch>();
    TRY_ASSIGN(out->folder_, OutputFolder::create(target, replace));
    TRY_ASSIGN(out->file_, OutputFile::create(out->path()));
    return out;
  }
  const fs::path& target() const { return folder_->target(); }

  Result<void> add(QTensor& tensor, FloatType type, std::vector<std::byte> bytes) {
    tensor.scheme = float_scheme(type);
    tensor.by_columns = false;
    tensor.row_order.reset();
    tensor.deferred.reset();
    pending_.push_back({&tensor, file_->size(), bytes.size()});
    bytes.resize((bytes.size() + 63) / 64 * 64);
    return at_target(file_->write(bytes));
  }

  /// Points the tensors at what was written.
  Result<void> finish() {
    TRY(at_target(file_->close()));
    TRY_ASSIGN(const std::shared_ptr<const MappedFile> map, MappedFile::open(path()));
    for (const Pending& pending : pending_) {
      pending.tensor->codes = map->bytes().subspan(pending.offset, pending.size);
      pending.tensor->keep_alive = map;
    }
    return {};
  }

 private:
  struct Pending {
    QTensor* tensor;
    std::uint64_t offset;
    std::size_t size;
  };
  fs::path path() const { return folder_->staging() / "values"; }
  /// Errors name the place people asked for.
  Result<void> at_target(Result<void> outcome) const {
    if (!outcome)
      outcome.error().where = target().string();
    return outcome;
  }

  std::unique_ptr<OutputFolder> folder_;
  std::unique_ptr<OutputFile> file_; ///< lies in the folder: goes first
  std::vector<Pending> pending_;
};

/// The changed model, and the list that goes with it.
struct PlantedModel : Checkpoint {
  OrderedJson list;
};

PlantedModel copy_of(const Checkpoint& source) {
  PlantedModel out;
  out.path = source.path;
  out.name = source.name;
  out.format = source.format;
  out.architecture = source.architecture;
  out.config = source.config;
  out.gguf = source.gguf;
  out.others = source.others;
  out.spec = source.spec;
  out.tokenizer = source.tokenizer;
  out.kv_keys = source.kv_keys;
  out.kv_values = source.kv_values;
  out.kv_scales = source.kv_scales;
  out.side_files = source.side_files;
  for (const Module& module : source.modules)
    out.modules.push_back(view_of(module));
  return out;
}

class Planting {
 public:
  Planting(const Checkpoint& source, const OutlierOptions& options, Feedback& feedback)
      : source_(source), options_(options), feedback_(feedback),
        random_(std::uint64_t(options.seed)), model_(copy_of(source)) {}

  Result<PlantedOutliers> run(const fs::path& folder) {
    const std::vector<Place> places = places_of(source_);
    if (places.empty())
      return Error{"unsupported", "The model has no norm that linears read", source_.path.string()};
    TRY_ASSIGN(scratch_, Scratch::create(folder, options_.replace));
    std::error_code ignored;
    const fs::path source =
        fs::is_directory(source_.path, ignored) ? source_.path : source_.path.parent_path();
    if (fs::equivalent(scratch_->target(), source, ignored))
      return Error{"bad-argument", "The output folder is the model's own", source.string()};
    feedback_.set_step("Planting outliers");
    feedback_.done = 0;
    std::uint64_t bytes = 0;
    for (const Place& place : places)
      for (const std::size_t reader : place.readers)
        bytes += source_.modules[reader].bytes();
    feedback_.total = bytes;
    for (const Place& place : places)
      TRY(plant(place));
    TRY(scratch_->finish());
    describe();
    ExportOptions export_options;
    export_options.folder = folder;
    export_options.replace = options_.replace;
    TRY_ASSIGN(const ExportOutcome written,
               run_export(model_, exporter(), export_options, feedback_));
    out_.path = written.path;
    out_.bytes = written.bytes;
    out_.notes.insert(out_.notes.end(), written.notes.begin(), written.notes.end());
    return std::move(out_);
  }

 private:
  /// Plain safetensors, with the list of channels beside them.
  static const Exporter& exporter() {
    static const Exporter with_list = [] {
      Exporter out = *find_exporter("safetensors");
      out.files = [](const ExportInput& input) -> Result<ExportFiles> {
        TRY_ASSIGN(ExportFiles described, find_exporter("safetensors")->files(input));
        const auto& model = static_cast<const PlantedModel&>(input.model);
        described.files.push_back(text_file(list_file, model.list.dump(2) + "\n"));
        return described;
      };
      return out;
    }();
    return with_list;
  }

  /// What a norm's value becomes, as it is stored.
  float scaled(float used, float offset) const { return used * options_.factor - offset; }

  /// Ascending, out of those that can be scaled: not zero, not beyond f32, and not so near to zero
  /// that the stored value loses them beside the offset.
  std::vector<std::int64_t> draw(const std::vector<float>& norm, float offset) {
    std::vector<std::int64_t> open;
    for (std::size_t c = 0; c < norm.size(); ++c) {
      const float ratio = (scaled(norm[c], offset) + offset) / norm[c];
      if (std::isfinite(ratio) && std::fabs(ratio / options_.factor - 1) < 0.01f)
        open.push_back(std::int64_t(c));
    }
    const auto n = std::min(open.size(), std::size_t(options_.channels));
    for (std::size_t i = 0; i < n; ++i)
      std::swap(open[i], open[i + std::size_t(random_() % (open.size() - i))]);
    open.resize(n);
    std::sort(open.begin(), open.end());
    return open;
  }

  Result<void> plant(const Place& place) {
    const Module& module = source_.modules[place.norm];
    Module& changed = model_.modules[place.norm];
    const float offset = source_.spec->norm_plus_one ? 1.0f : 0.0f;
    std::vector<float> stored = row_of(module.weight, 0), used = stored;
    for (float& value : used)
      value += offset;
    const auto channels = draw(used, offset);
    if (std::int64_t(channels.size()) < options_.channels)
      out_.notes.push_back(module.name + ": only " + std::to_string(channels.size()) +
                           " channels can be scaled, the others are zero, too small or not finite");

    // What the norm will really multiply by decides by what the columns are divided.
    std::vector<float> ratio(used.size(), 1.0f);
    std::vector<float> bias = module.bias.rows > 0 ? row_of(module.bias, 0) : std::vector<float>();
    for (const std::int64_t channel : channels) {
      const auto c = std::size_t(channel);
      stored[c] = scaled(used[c], offset);
      ratio[c] = (stored[c] + offset) / used[c];
      if (!bias.empty()) {
        note_rounding(bias[c], ratio[c]);
        bias[c] *= ratio[c];
      }
      if (double(ratio[c]) * double(used[c]) != double(stored[c] + offset))
        out_.exact = false;
    }
    TRY(put(module, changed.weight, stored, module.weight.scheme.float_type));
    if (!bias.empty())
      TRY(put(module, changed.bias, bias, module.bias.scheme.float_type));
    PlantedNorm& norm = out_.norms.emplace_back();
    norm.norm = module.name;
    norm.channels = channels;
    for (const std::size_t reader : place.readers) {
      if (feedback_.stopped())
        return cancelled_error();
      TRY(divide(source_.modules[reader], model_.modules[reader].weight, channels, ratio));
      norm.readers.push_back(source_.modules[reader].name);
      feedback_.advance(source_.modules[reader].bytes());
    }
    return {};
  }

  void note_rounding(float x, float y) { out_.exact = out_.exact && exact_product(x, y); }

  /// A vector, in its type or in f32.
  Result<void> put(const Module& module, QTensor& tensor, const std::vector<float>& values,
                   FloatType type) {
    if (!std::all_of(values.begin(), values.end(), [&](float x) { return holds(type, x); })) {
      widened_.push_back(module.name);
      type = FloatType::f32;
    }
    std::vector<std::byte> bytes(values.size() * float_size(type));
    for (std::size_t i = 0; i < values.size(); ++i)
      store_float(type, bytes.data(), std::int64_t(i), values[i]);
    return scratch_->add(tensor, type, std::move(bytes));
  }

  Result<void> divide(const Module& module, QTensor& tensor,
                      const std::vector<std::int64_t>& channels, const std::vector<float>& ratio) {
    TRY_ASSIGN(const WeightUse use, module.weight.use());
    const ByRows by_rows(module.weight);
    const QTensor& weight = *by_rows;
    FloatType type = weight.scheme.float_type;
    std::vector<std::byte> bytes;
    std::atomic<bool> fits{true}, exact{true};
    const auto fill = [&] {
      const auto row_bytes = std::size_t(weight.cols) * float_size(type);
      bytes.assign(std::size_t(weight.rows) * row_bytes, std::byte(0));
      parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end && fits; ++row) {
          std::vector<float> values = row_of(weight, row);
          for (const std::int64_t channel : channels) {
            float& value = values[std::size_t(channel)];
            const float by = ratio[std::size_t(channel)], divided = value / by;
            if (!holds(type, divided))
              fits = false;
            if (double(divided) * double(by) != double(value) && !std::isnan(value))
              exact = false;
            value = divided;
          }
          for (std::int64_t col = 0; col < weight.cols; ++col)
            store_float(type, bytes.data() + std::size_t(row) * row_bytes, col,
                        values[std::size_t(col)]);
        }
      });
    };
    fill();
    if (!fits) { // all of the weight in f32, which holds every quotient as `exact` says
      type = FloatType::f32;
      widened_.push_back(module.name);
      fits = exact = true;
      fill();
    }
    out_.exact = out_.exact && exact;
    return scratch_->add(tensor, type, std::move(bytes));
  }

  /// Notes for people, the list for the folder, and the float type that programs should load.
  void describe() {
    if (!widened_.empty()) {
      out_.notes.push_back(std::to_string(widened_.size()) +
                           " tensors are written as F32, because their type does not hold the "
                           "scaled values exactly (" +
                           widened_.front() + (widened_.size() > 1 ? ", ..." : "") +
                           "): load the model in float32");
      model_.config[model_.config.contains("dtype") ? "dtype" : "torch_dtype"] = "float32";
      if (model_.config.contains("torch_dtype"))
        model_.config["torch_dtype"] = "float32";
    }
    if (!out_.exact)
      out_.notes.push_back("Some scaled values are rounded to F32: the model computes the same "
                           "only within rounding");
    OrderedJson& list = model_.list;
    list["bitlathe_outliers"] = 1;
    list["about"] = "Channels of norms multiplied by the factor; the columns of the readers are "
                    "divided by it, so the model computes what its source does.";
    list["source"] = source_.name;
    list["factor"] = options_.factor;
    list["seed"] = options_.seed;
    list["exact"] = out_.exact;
    list["norms"] = OrderedJson::array();
    for (const PlantedNorm& norm : out_.norms)
      list["norms"].push_back(
          {{"name", norm.norm}, {"channels", norm.channels}, {"readers", norm.readers}});
  }

  const Checkpoint& source_;
  const OutlierOptions& options_;
  Feedback& feedback_;
  std::mt19937_64 random_;
  std::unique_ptr<Scratch> scratch_; ///< the model's tensors point into it
  PlantedModel model_;
  PlantedOutliers out_;
  std::vector<std::string> widened_;
};

} // namespace

Result<PlantedOutliers> plant_outliers(const Checkpoint& checkpoint, const OutlierOptions& options,
                                       const fs::path& folder, Feedback& feedback) {
  const std::string where = checkpoint.path.string();
  if (!checkpoint.spec)
    return Error{"unsupported",
                 "Outliers are planted into models that can be run: " + checkpoint.why_not_runnable,
                 where};
  for (const Module& module : checkpoint.modules)
    if (!module.weight.scheme.family || module.weight.scheme.quantized)
      return Error{"unsupported",
                   "Outliers are planted into unquantized models, and " + module.name +
                       " is stored as " + module.weight.scheme.id,
                   where};
  if (options.channels < 1 || options.channels >= checkpoint.spec->hidden)
    return Error{"bad-argument",
                 "The number of outlier channels must be from 1 to " +
                     std::to_string(checkpoint.spec->hidden - 1) + ", not " +
                     std::to_string(options.channels),
                 where};
  if (!(options.factor >= OutlierOptions::least_factor &&
        options.factor <= OutlierOptions::largest_factor))
    return Error{"bad-argument", "The factor of outliers must be from 2 to 1024", where};
  return Planting(checkpoint, options, feedback).run(folder);
}

} // namespace bitlathe
