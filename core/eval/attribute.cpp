// SPDX-License-Identifier: Apache-2.0
// Exchanging modules between a model and its quantized form, the cheapest exchanges first.
#include "core/eval/attribute_run.h"

#include "core/engine/kv_memory.h"
#include "core/eval/divergence.h"
#include "core/io/sha256.h"
#include "core/recipe/recipe.h"
#include "core/schemes/deferred.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

const AttributionRow* AttributionReport::find(std::string_view kind, std::string_view name) const {
  for (const AttributionRow& row : rows)
    if (row.kind == kind && row.name == name)
      return &row;
  return nullptr;
}

const ModuleCurve* AttributionReport::curve(std::string_view name) const {
  for (const ModuleCurve& curve : curves)
    if (curve.name == name)
      return &curve;
  return nullptr;
}

void AttributionReport::add_up() {
  sum_alone = sum_fall = ratio_alone = ratio_fall = 0;
  std::int64_t alone = 0, fall = 0;
  for (const AttributionRow& row : rows) {
    if (row.kind != "module" && row.kind != "kv")
      continue;
    alone += bool(row.alone);
    fall += bool(row.without);
    sum_alone += row.alone ? row.alone.kld : 0;
    sum_fall += row.without ? row.fall : 0;
  }
  all_alone = parts > 0 && alone == parts;
  all_fall = parts > 0 && fall == parts;
  if (whole && whole.kld > 0) {
    ratio_alone = sum_alone / whole.kld;
    ratio_fall = sum_fall / whole.kld;
  }
}

void AttributionRun::changed() {
  report.add_up();
  report.cost.seconds = seconds_now() - start;
  if (options.on_change)
    options.on_change(report);
}

Result<bool> AttributionRun::wanted(const std::string& module) const {
  for (const std::string& pattern : options.only) {
    TRY_ASSIGN(const bool hit, pattern_matches(pattern, module));
    if (hit)
      return true;
  }
  return options.only.empty();
}

Result<TokenScores> AttributionRun::measure(SwapBase& base, const Exchanged& exchanged,
                                            std::int64_t first_block, const std::string& step) {
  feedback.set_step(step);
  TokenScores scores;
  std::vector<float> out;
  const std::uint64_t before = base.blocks_run(), repeated = base.blocks_repeated();
  for (std::int64_t w = 0; w < text.count(); ++w) {
    if (feedback.stopped())
      return cancelled_error();
    TRY(base.logits(exchanged, w, out, feedback));
    if (auto scored = logits->score(w, out, base.model().spec->vocab, scores, feedback); !scored) {
      Error error = scored.error();
      error.message = "With " + step + ": " + error.message;
      error.where = base.model().path.string();
      return error;
    }
    feedback.advance(std::uint64_t(reference.spec->layers - first_block + 1));
  }
  report.cost.blocks_run += base.blocks_run() - before;
  report.cost.blocks_repeated += base.blocks_repeated() - repeated;
  report.cost.blocks_whole += windows() * std::uint64_t(original->layers());
  return scores;
}

std::vector<bool> spread(std::size_t count, double share) {
  std::vector<bool> out(count, share >= 1);
  const auto wanted = std::min(count, std::size_t(std::ceil(share * double(count))));
  for (std::size_t i = 0; i < wanted && share < 1; ++i) // the middle of equal parts
    out[(2 * i + 1) * count / (2 * wanted)] = true;
  return out;
}

namespace {

Result<std::string> reference_signature(const Checkpoint& model) {
  Sha256 hash;
  constexpr std::size_t looked_at =
      4096; // of both ends of every tensor: enough to tell models apart
  for (const Module& module : model.modules) {
    const std::string head = module.name + "/" + module.weight.scheme.id + "/" +
                             std::to_string(module.weight.rows) + "x" +
                             std::to_string(module.weight.cols);
    hash.add(std::as_bytes(std::span(head)));
    TRY_ASSIGN(const WeightUse use, module.weight.use());
    const auto codes = module.weight.codes;
    hash.add(codes.first(std::min(looked_at, codes.size())));
    hash.add(codes.last(std::min(looked_at, codes.size())));
  }
  return hash.finish();
}

std::string text_signature(const ScoredText& text, std::int64_t context) {
  Sha256 hash;
  const std::string head = std::to_string(context);
  hash.add(std::as_bytes(std::span(head)));
  for (const auto& window : text.windows)
    hash.add(std::as_bytes(std::span(window)));
  return hash.finish();
}

/// The first block that exchanging a module changes; behind the last one for the final norm and the
/// head.
std::int64_t first_block(const Checkpoint& model, std::size_t index) {
  const Module& module = model.modules[index];
  if (module.layer >= 0)
    return module.layer;
  return module.part == "final_norm" || module.part == "head" ? model.spec->layers : 0;
}

/// The standard error of a ratio of two means over the same tokens; -1 without the first.
double ratio_error(const std::vector<double>& sums, const std::vector<double>& whole,
                   double ratio) {
  RunningMean residual, mean;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    residual.add(sums[i] - ratio * whole[i]);
    mean.add(whole[i]);
  }
  return mean.mean() > 0 ? residual.standard_error() / mean.mean() : -1;
}

/// One exchange to be measured.
struct Variant {
  std::size_t row = 0;
  std::vector<std::size_t> modules; ///< to be exchanged, indices in the reference
  std::int64_t first = 0;           ///< block
};

class CandidateRun {
 public:
  CandidateRun(AttributionRun& run, const Checkpoint& candidate)
      : run_(run), candidate_(candidate), report_(run.report), options_(run.options) {}

  /// What there is to exchange, as rows.
  Result<void> plan();
  std::int64_t rows_shared() const { return rows_shared_; }
  std::uint64_t work() const;
  Result<void> run();

 private:
  bool predicts() const {
    return options_.modules && options_.alone && (options_.predict || options_.measured_share < 1);
  }
  Result<void> make_rows();
  void add_row(AttributionRow row, std::vector<std::size_t> modules, bool measured);
  AttributionRow row_of(const ExchangeUnit& unit) const;
  void add_group(const char* kind, const std::string& name,
                 const std::vector<const ExchangeUnit*>& units);
  bool differing_kv() const;
  void take_known();

  Result<void> control();
  Result<void> whole();
  Result<void> alone();
  Result<void> without();
  Result<void> predict();
  /// Measures into a row; an error other than being cancelled is the row's.
  Result<std::optional<TokenScores>> try_measure(AttributionRow& row, SwapBase& base,
                                                 Result<Exchanged> exchanged, std::int64_t first,
                                                 const std::string& step);

  AttributionRun& run_;
  const Checkpoint& candidate_;
  AttributionReport& report_;
  const AttributionOptions& options_;
  ExchangeUnits units_;
  std::int64_t rows_shared_ = 0;
  KvScheme own_kv_, their_kv_;
  std::vector<Variant> variants_;                    ///< to be measured, cheapest first
  std::vector<std::vector<std::size_t>> modules_of_; ///< by row
  TokenScores whole_scores_;
  std::vector<double> alone_sum_, fall_sum_; ///< by token, over the parts; empty: not all known
  std::unique_ptr<SwapBase> other_;          ///< the candidate
};

Result<void> CandidateRun::plan() {
  TRY_ASSIGN(rows_shared_, shared_vocabulary(run_.reference, candidate_, report_.notes));
  TRY_ASSIGN(units_, find_exchange_units(run_.reference, candidate_, run_.compute, run_.feedback));
  report_.notes.insert(report_.notes.end(), units_.notes.begin(), units_.notes.end());
  own_kv_ = kv_scheme_of(run_.reference, {});
  their_kv_ = kv_scheme_of(candidate_, options_.run);
  if (!options_.run.activations.empty() && run_.reference.quantized())
    return Error{"unsupported",
                 "Activations can be chosen only for a candidate of an original that is not "
                 "quantized itself",
                 run_.reference.path.string()};
  Sha256 hash;
  for (const ExchangeUnit& unit : units_.units)
    hash.add(std::as_bytes(std::span(unit.signature)));
  const std::string way = their_kv_.keys + "," + their_kv_.values + "," + options_.run.activations;
  hash.add(std::as_bytes(std::span(way)));
  report_.candidate_signature = hash.finish();
  TRY(make_rows());
  take_known();
  return {};
}

AttributionRow CandidateRun::row_of(const ExchangeUnit& unit) const {
  AttributionRow row;
  row.kind = "module";
  row.name = unit.name;
  row.role = unit.role;
  row.scheme = unit.scheme;
  row.layer = unit.layer;
  row.bytes = unit.bytes;
  row.parameters = unit.parameters;
  row.weight_error = unit.weight_error;
  row.signature = unit.signature + options_.run.activations;
  for (const std::size_t i : unit.modules)
    row.modules.push_back(run_.reference.modules[i].name);
  return row;
}

void CandidateRun::add_row(AttributionRow row, std::vector<std::size_t> modules, bool measured) {
  Variant variant;
  variant.row = report_.rows.size();
  variant.modules = modules;
  variant.first = run_.reference.spec->layers;
  for (const std::size_t i : modules)
    variant.first = std::min(variant.first, first_block(run_.reference, i));
  if (row.kind == "kv")
    variant.first = 0;
  report_.rows.push_back(std::move(row));
  modules_of_.push_back(std::move(modules));
  if (measured)
    variants_.push_back(std::move(variant));
}

void CandidateRun::add_group(const char* kind, const std::string& name,
                             const std::vector<const ExchangeUnit*>& units) {
  AttributionRow row;
  row.kind = kind;
  row.name = name;
  std::vector<std::size_t> modules;
  Sha256 hash;
  double error = 0, weight = 0;
  for (const ExchangeUnit* unit : units) {
    const AttributionRow one = row_of(*unit);
    hash.add(std::as_bytes(std::span(one.signature)));
    row.modules.insert(row.modules.end(), one.modules.begin(), one.modules.end());
    modules.insert(modules.end(), unit->modules.begin(), unit->modules.end());
    row.bytes += unit->bytes;
    row.parameters += unit->parameters;
    error += unit->weight_error * double(unit->parameters);
    weight += double(unit->parameters);
    if (row.scheme.empty())
      row.scheme = unit->scheme;
    else if (row.scheme != unit->scheme)
      row.scheme = "mixed";
  }
  row.weight_error = weight > 0 ? error / weight : 0;
  row.layer = std::string_view(kind) == "block" ? units.front()->layer : -1;
  row.role = std::string_view(kind) == "role" ? name : std::string();
  row.signature = hash.finish();
  add_row(std::move(row), std::move(modules), true);
}

bool CandidateRun::differing_kv() const {
  return own_kv_.keys != their_kv_.keys || own_kv_.values != their_kv_.values ||
         (run_.reference.kv_scales != candidate_.kv_scales &&
          (kv_is_static(their_kv_.keys) || kv_is_static(their_kv_.values)));
}

Result<void> CandidateRun::make_rows() {
  report_.parts = std::int64_t(units_.units.size()) + differing_kv();
  std::map<int, std::vector<const ExchangeUnit*>> blocks;
  std::map<std::string, std::vector<const ExchangeUnit*>> roles;
  for (const ExchangeUnit& unit : units_.units) {
    if (unit.layer >= 0)
      blocks[unit.layer].push_back(&unit);
    roles[unit.role].push_back(&unit);
  }
  if (options_.modules) {
    std::map<std::string, std::vector<bool>> measured;
    std::map<std::string, std::size_t> nth;
    for (const auto& [role, units] : roles)
      measured[role] = spread(units.size(), options_.measured_share);
    for (const ExchangeUnit& unit : units_.units) {
      const bool now = measured[unit.role][nth[unit.role]++];
      bool asked = false;
      for (const std::size_t i : unit.modules) {
        TRY_ASSIGN(const bool hit, run_.wanted(run_.reference.modules[i].name));
        asked = asked || hit;
      }
      if (asked)
        add_row(row_of(unit), unit.modules, now);
    }
    if (report_.rows.empty() && !units_.units.empty())
      return Error{"bad-argument", "No module that differs has a name like that", {}};
  }
  if (options_.groups && options_.only.empty()) {
    for (const auto& [layer, units] : blocks)
      add_group("block", "block " + std::to_string(layer), units);
    for (const auto& [role, units] : roles)
      if (units.size() > 1)
        add_group("role", role, units);
  }
  if (differing_kv() && options_.only.empty()) {
    AttributionRow row;
    row.kind = "kv";
    row.name = "keys and values";
    row.scheme = their_kv_.keys == their_kv_.values ? their_kv_.keys
                                                    : their_kv_.keys + "," + their_kv_.values;
    row.signature = row.scheme;
    if (kv_is_static(their_kv_.keys) || kv_is_static(their_kv_.values))
      for (const auto& scales : candidate_.kv_scales)
        row.signature += "/" + std::to_string(scales[0]) + "," + std::to_string(scales[1]);
    add_row(std::move(row), {}, true);
  }
  // What stands near the end needs only the last blocks; a group before its members.
  std::stable_sort(variants_.begin(), variants_.end(), [&](const Variant& a, const Variant& b) {
    const bool group_a = report_.rows[a.row].kind != "module";
    const bool group_b = report_.rows[b.row].kind != "module";
    return a.first != b.first ? a.first > b.first : group_a && !group_b;
  });
  return {};
}

void CandidateRun::take_known() {
  const AttributionReport* known = options_.known;
  if (!known || known->reference_signature != report_.reference_signature ||
      known->text_signature != report_.text_signature)
    return;
  const bool same_candidate = known->candidate_signature == report_.candidate_signature;
  for (AttributionRow& row : report_.rows)
    if (const AttributionRow* other = known->find(row.kind, row.name);
        other && other->signature == row.signature) {
      row.alone = other->alone;
      row.kept = bool(row.alone);
      if (!same_candidate)
        continue;
      row.without = other->without;
      row.fall = other->fall;
      row.fall_stderr = other->fall_stderr;
    }
  report_.noise_floor = known->noise_floor;
}

std::uint64_t CandidateRun::work() const {
  const std::uint64_t whole = run_.work(0);
  std::uint64_t out = 2 * whole;
  if (options_.noise_floor && report_.noise_floor < 0)
    out += whole;
  for (const Variant& variant : variants_) {
    const AttributionRow& row = report_.rows[variant.row];
    out += (options_.alone && !row.alone) ? run_.work(variant.first) : 0;
    out += (options_.without && !row.without) ? run_.work(variant.first) : 0;
  }
  if (options_.without)
    out += whole; // its streams
  if (predicts())
    out += fisher_work(run_.text, run_.reference.spec->layers, options_.samples);
  return out;
}

Result<void> CandidateRun::run() {
  TRY(control());
  TRY(whole());
  if (options_.alone)
    TRY(alone());
  if (predicts())
    TRY(predict());
  if (options_.without)
    TRY(without());
  return {};
}

Result<void> CandidateRun::control() {
  SplitRun& split = run_.original->split();
  {
    Exchanged nothing;
    TRY_ASSIGN(nothing.everything, split.load_all(run_.reference));
    TRY_ASSIGN(const TokenScores scores,
               run_.measure(*run_.original, nothing, 0, "the original, run again"));
    report_.control = scores.figures();
    run_.changed();
  }
  if (!options_.noise_floor || report_.noise_floor >= 0)
    return {};
  Exchanged rounded;
  EngineOptions options;
  options.round_weights_to_f16 = true;
  TRY_ASSIGN(rounded.everything, split.load_all(run_.reference, options));
  TRY_ASSIGN(const TokenScores scores,
             run_.measure(*run_.original, rounded, 0, "the original, rounded to 16 bits"));
  report_.noise_floor = scores.figures().kld;
  run_.changed();
  return {};
}

Result<void> CandidateRun::whole() {
  TRY_ASSIGN(other_, SwapBase::create(candidate_, run_.compute, options_.run, run_.text,
                                      options_.memory / 2));
  Exchanged nothing;
  TRY_ASSIGN(nothing.everything, other_->split().load_all(candidate_, options_.run));
  TRY_ASSIGN(whole_scores_, run_.measure(*other_, nothing, 0, "the whole candidate"));
  report_.whole = whole_scores_.figures();
  alone_sum_.assign(whole_scores_.kld.size(), 0.0);
  fall_sum_ = alone_sum_;
  if (!options_.without)
    other_.reset();
  run_.changed();
  return {};
}

Result<std::optional<TokenScores>> CandidateRun::try_measure(AttributionRow& row, SwapBase& base,
                                                             Result<Exchanged> exchanged,
                                                             std::int64_t first,
                                                             const std::string& step) {
  Error error;
  if (exchanged) {
    auto scores = run_.measure(base, *exchanged, first, step);
    if (scores)
      return std::optional(std::move(*scores));
    error = scores.error();
  } else {
    error = exchanged.error();
  }
  if (error.cancelled())
    return error;
  row.problem = error.text();
  return std::optional<TokenScores>();
}

Result<void> CandidateRun::alone() {
  Hybrid hybrid(run_.reference);
  for (const Variant& variant : variants_) {
    AttributionRow& row = report_.rows[variant.row];
    const bool part = row.kind == "module" || row.kind == "kv";
    if (row.alone) {
      if (part)
        alone_sum_.clear();
      continue;
    }
    std::unique_ptr<SplitRun> with_kv;
    Result<Exchanged> exchanged = [&]() -> Result<Exchanged> {
      if (row.kind != "kv") {
        for (const std::size_t i : variant.modules)
          hybrid.put(i, *units_.partner[i]);
        return run_.original->load(hybrid.checkpoint(), variant.modules, options_.run);
      }
      Exchanged out;
      EngineOptions options;
      options.kv = their_kv_;
      TRY_ASSIGN(with_kv, SplitRun::create(hybrid.with_kv_of(candidate_), run_.compute, options));
      out.split = with_kv.get();
      return out;
    }();
    TRY_ASSIGN(const auto scores,
               try_measure(row, *run_.original, std::move(exchanged), variant.first,
                           row.name + " of the candidate in the original"));
    for (const std::size_t i : variant.modules)
      hybrid.restore(i);
    if (scores) {
      row.alone = scores->figures();
      for (std::size_t i = 0; part && i < alone_sum_.size(); ++i)
        alone_sum_[i] += scores->kld[i];
    }
    run_.changed();
  }
  report_.add_up();
  if (report_.all_alone)
    report_.ratio_alone_stderr = ratio_error(alone_sum_, whole_scores_.kld, report_.ratio_alone);
  return {};
}

Result<void> CandidateRun::without() {
  run_.original->drop_streams();
  run_.feedback.set_step("the candidate, block by block");
  TRY(other_->prepare(run_.feedback));
  run_.feedback.advance(run_.work(0));
  report_.cost.stream_bytes = std::max(report_.cost.stream_bytes, other_->stream_bytes());
  Hybrid hybrid(candidate_);
  std::map<const Module*, std::size_t> index; // of the candidate's modules
  for (std::size_t i = 0; i < candidate_.modules.size(); ++i)
    index[&candidate_.modules[i]] = i;
  for (const Variant& variant : variants_) {
    AttributionRow& row = report_.rows[variant.row];
    const bool part = row.kind == "module" || row.kind == "kv";
    if (row.without || !row.problem.empty()) {
      if (part)
        fall_sum_.clear();
      continue;
    }
    std::unique_ptr<SplitRun> with_kv;
    std::vector<std::size_t> theirs;
    Result<Exchanged> exchanged = [&]() -> Result<Exchanged> {
      if (row.kind != "kv") {
        for (const std::size_t i : variant.modules) {
          theirs.push_back(index.at(units_.partner[i]));
          hybrid.put(theirs.back(), run_.reference.modules[i]);
        }
        return other_->load(hybrid.checkpoint(), theirs, options_.run);
      }
      Exchanged out;
      EngineOptions options;
      options.kv = own_kv_;
      TRY_ASSIGN(with_kv,
                 SplitRun::create(hybrid.with_kv_of(run_.reference), run_.compute, options));
      out.split = with_kv.get();
      return out;
    }();
    TRY_ASSIGN(const auto scores, try_measure(row, *other_, std::move(exchanged), variant.first,
                                              "the candidate with the original's " + row.name));
    for (const std::size_t i : theirs)
      hybrid.restore(i);
    if (scores) {
      row.without = scores->figures();
      RunningMean fall;
      for (std::size_t i = 0; i < scores->kld.size(); ++i)
        fall.add(whole_scores_.kld[i] - scores->kld[i]);
      for (std::size_t i = 0; part && i < fall_sum_.size(); ++i)
        fall_sum_[i] += whole_scores_.kld[i] - scores->kld[i];
      row.fall = fall.mean();
      row.fall_stderr = fall.standard_error();
    }
    run_.changed();
  }
  report_.add_up();
  if (report_.all_fall)
    report_.ratio_fall_stderr = ratio_error(fall_sum_, whole_scores_.kld, report_.ratio_fall);
  return {};
}

Result<void> CandidateRun::predict() {
  const double begin = seconds_now();
  std::vector<std::size_t> rows; // by case
  for (std::size_t r = 0; r < report_.rows.size(); ++r) {
    const AttributionRow& row = report_.rows[r];
    const auto own = std::count_if(modules_of_[r].begin(), modules_of_[r].end(), [&](auto i) {
      return !run_.reference.modules[i].tied_to_embedding;
    });
    if (row.kind == "module" && own == 1) // a scale that moved is no small change
      rows.push_back(r);
  }
  const ChangesOfLayer changes = [&](int layer) -> Result<std::vector<WeightChange>> {
    std::vector<WeightChange> out;
    for (std::size_t c = 0; c < rows.size(); ++c)
      for (const std::size_t i : modules_of_[rows[c]])
        if (run_.reference.modules[i].layer == layer)
          out.push_back(
              {c, i, std::shared_ptr<const Module>(std::shared_ptr<void>(), units_.partner[i])});
    return out;
  };
  TRY_ASSIGN(const auto figures,
             fisher_divergence(*run_.original, *run_.logits, run_.text, rows.size(), changes,
                               options_.samples, options_.seed, run_.compute, run_.feedback));
  std::vector<PredictedCase> cases;
  for (std::size_t c = 0; c < rows.size(); ++c) {
    AttributionRow& row = report_.rows[rows[c]];
    row.predicted = figures[c];
    cases.push_back({row.role, &row.predicted, &row.alone});
  }
  report_.prediction = fit_predictions(cases, std::max(report_.noise_floor, 0.0));
  report_.prediction.seconds = seconds_now() - begin;
  run_.changed();
  return {};
}

/// What an earlier run of the same model on the same text has and this one was not asked for.
void take_over_rest(AttributionReport& report, const AttributionOptions& options) {
  const AttributionReport* known = options.known;
  if (!known || (known->rows.empty() && known->curves.empty()))
    return;
  if (known->reference_signature != report.reference_signature ||
      known->text_signature != report.text_signature) {
    report.notes.push_back(known->text_signature != report.text_signature
                               ? "What was known from another text, context or number of windows "
                                 "is left out: figures of different tokens do not compare"
                               : "What was known of another original is left out");
    return;
  }
  for (const ModuleCurve& curve : known->curves) {
    const auto own = std::find_if(report.curves.begin(), report.curves.end(),
                                  [&](const ModuleCurve& c) { return c.name == curve.name; });
    ModuleCurve& to = own == report.curves.end() ? report.curves.emplace_back() : *own;
    if (to.name.empty()) {
      to = curve;
      to.points.clear();
    }
    for (const CurvePoint& point : curve.points)
      if (std::none_of(to.points.begin(), to.points.end(), [&](const CurvePoint& p) {
            return p.scheme == point.scheme && p.method == point.method;
          })) {
        to.points.push_back(point);
        to.points.back().kept = true;
      }
  }
  if (!report.rows.empty() || !report.candidate.empty())
    return;
  report.candidate = known->candidate;
  report.candidate_signature = known->candidate_signature;
  report.control = known->control;
  report.whole = known->whole;
  report.noise_floor = known->noise_floor;
  report.parts = known->parts;
  report.ratio_alone_stderr = known->ratio_alone_stderr;
  report.ratio_fall_stderr = known->ratio_fall_stderr;
  report.rows = known->rows;
  if (report.prediction.samples == 0)
    report.prediction = known->prediction;
}

} // namespace

Result<AttributionReport> attribute(const Checkpoint& reference, const Checkpoint* candidate,
                                    const EvalText& text, Compute& compute,
                                    const AttributionOptions& options, Feedback& feedback) {
  if (!candidate && options.schemes.empty())
    return Error{"bad-argument", "There is neither a candidate nor a list of schemes", {}};
  AttributionRun run{reference, compute, options, feedback, {}, {}, nullptr, {}, seconds_now()};
  // What cannot run says so before anything is loaded.
  TRY(SplitRun::create(reference, compute));
  if (candidate)
    TRY(SplitRun::create(*candidate, compute, options.run));
  run.report.reference = reference.path.string();
  run.report.context = text.context;
  TRY_ASSIGN(run.text, scored_text(reference, text));
  run.report.windows = run.text.count();
  run.report.tokens = run.text.count() * run.text.per_window();
  TRY_ASSIGN(run.report.reference_signature, reference_signature(reference));
  run.report.text_signature = text_signature(run.text, text.context);
  if (const auto trained = reference.spec->context; trained > 0 && text.context > trained)
    run.report.notes.push_back("The context of " + std::to_string(text.context) +
                               " is above the trained length of " + std::to_string(trained));
  std::optional<CandidateRun> exchanges;
  feedback.done = 0;
  feedback.total = 0;
  const auto outcome = [&]() -> Result<void> {
    std::int64_t rows = reference.spec->vocab;
    if (candidate) {
      run.report.candidate = candidate->path.string();
      exchanges.emplace(run, *candidate);
      feedback.set_step("which modules differ");
      TRY(exchanges->plan());
      rows = exchanges->rows_shared();
    }
    std::uint64_t total = 2 * run.work(0);
    if (exchanges)
      total += exchanges->work();
    if (!options.schemes.empty()) {
      TRY_ASSIGN(const std::uint64_t more, curve_work(run));
      total += more;
    }
    feedback.total = total;
    feedback.set_step("the original, block by block");
    TRY_ASSIGN(run.original,
               SwapBase::create(reference, compute, {}, run.text, options.memory / 2));
    TRY(run.original->prepare(feedback));
    feedback.advance(run.work(0));
    TRY_ASSIGN(run.logits,
               OriginalLogits::create(*run.original, run.text, rows, options.memory / 2, feedback));
    feedback.advance(run.work(0));
    run.report.reference_perplexity = run.logits->perplexity();
    run.report.cost.stream_bytes = run.original->stream_bytes();
    run.report.cost.logit_bytes = run.logits->bytes();
    run.report.cost.weight_bytes = run.original->weight_bytes();
    run.report.cost.blocks_run = run.windows() * std::uint64_t(reference.spec->layers);
    if (exchanges)
      TRY(exchanges->run());
    if (!options.schemes.empty())
      TRY(run_curves(run));
    return {};
  }();
  if (!outcome && !outcome.error().cancelled())
    return outcome.error();
  take_over_rest(run.report, options);
  run.report.cancelled = !outcome.ok();
  for (const std::string& note : compute.notes())
    run.report.notes.push_back(note);
  run.report.add_up();
  run.report.cost.seconds = seconds_now() - run.start;
  return std::move(run.report);
}

} // namespace bitlathe
