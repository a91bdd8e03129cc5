// SPDX-License-Identifier: GPL-3.0-or-later
// Session files (*.bitlathe): JSON with the checkpoint's path, recipe, result folder, statistics,
// selection, other contenders, figures, and what the stages want kept.
#include "app/gui/workbench_impl.h"

#include <cmath>
#include <limits>
#include <QFileInfo>

namespace bitlathe::gui {

namespace {

constexpr int session_version = 1;

double number(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>()
                                             : std::numeric_limits<double>::quiet_NaN();
}

std::vector<std::string> strings(const Json& json, const char* key) {
  std::vector<std::string> out;
  if (const auto it = json.find(key); it != json.end() && it->is_array())
    for (const auto& entry : *it)
      if (entry.is_string())
        out.push_back(entry.get<std::string>());
  return out;
}

std::vector<double> numbers(const Json& json, const char* key) {
  std::vector<double> out;
  if (const auto it = json.find(key); it != json.end() && it->is_array())
    for (const auto& entry : *it)
      out.push_back(entry.is_number() ? entry.get<double>()
                                      : std::numeric_limits<double>::quiet_NaN());
  return out;
}

bool looks_like_session(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed) || fs::file_size(path, failed) > (64u << 20))
    return false;
  const auto text = read_file(path, 64u << 20);
  return text && text->find_first_not_of(" \t\r\n") != std::string::npos &&
         (*text)[text->find_first_not_of(" \t\r\n")] == '{' &&
         text->find("\"bitlathe_session\"") != std::string::npos;
}

/// Opens what a session refers to. Missing results, statistics and contenders are notes; only the
/// checkpoint itself must be there.
Result<OpenedThing> open_session(const fs::path& path) {
  const std::string where = path.string();
  TRY_ASSIGN(const Json json, read_json_file(path));
  TRY_ASSIGN(const auto version, json_int(json, "bitlathe_session", where));
  if (version != session_version)
    return Error{"unsupported",
                 "This session was saved by another version of the program (" +
                     std::to_string(version) + ")",
                 where};
  OpenedThing out;
  out.session_path = QString::fromStdString(where);
  TRY_ASSIGN(const std::string checkpoint, json_string(json, "checkpoint", where));
  // Relative to the session first, so that a folder with both can be moved.
  fs::path model = path.parent_path() / checkpoint;
  if (!fs::exists(model))
    return Error{"not-found", "The checkpoint of this session is not there any more: " + checkpoint,
                 where};
  TRY_ASSIGN(out.checkpoint, open_checkpoint(model));
  if (const auto recipe = json.find("recipe"); recipe != json.end()) {
    TRY_ASSIGN(out.recipe, recipe_from_json(*recipe, where));
  }
  TRY_ASSIGN(const std::string result, json_string_or(json, "result", "", where));
  if (!result.empty()) {
    auto kept = read_result(result);
    auto opened = kept ? open_checkpoint(result) : Result<CheckpointPtr>(kept.error());
    if (opened) {
      out.run = std::make_shared<FinishedRun>();
      out.run->recipe = kept->recipe;
      out.run->summary = kept->summary;
      out.run->checkpoint = *opened;
      out.run->folder = QString::fromStdString(result);
    } else {
      out.notes.push_back("The kept result cannot be opened: " + opened.error().text() +
                          ". Quantize again to get it back.");
    }
  }
  TRY_ASSIGN(const std::string statistics, json_string_or(json, "statistics", "", where));
  if (!statistics.empty()) {
    auto read = read_statistics(statistics, *out.checkpoint, &out.notes);
    if (read) {
      out.statistics = std::make_shared<const ActivationStatistics>(std::move(*read));
      out.statistics_path = QString::fromStdString(statistics);
    } else {
      out.notes.push_back("The activation statistics cannot be read: " + read.error().text() +
                          ". Calibrate again to get them back.");
    }
  }
  for (const auto& name : strings(json, "selection"))
    if (out.checkpoint->find_module(name))
      out.selection.append(QString::fromStdString(name));
  for (const auto& other : strings(json, "contenders")) {
    auto opened = open_checkpoint(other);
    if (opened)
      out.extra.append({QString::fromStdString((*opened)->name), *opened});
    else
      out.notes.push_back("A compared model cannot be opened: " + opened.error().text());
  }
  TRY_ASSIGN(const std::string second, json_string_or(json, "second", "", where));
  if (!second.empty()) {
    auto opened = open_checkpoint(second);
    if (opened) {
      out.second = *opened;
      out.matcher = std::make_shared<const ModuleMatcher>(*out.checkpoint, *out.second);
    } else {
      out.notes.push_back("The second checkpoint cannot be opened: " + opened.error().text());
    }
  }
  if (const auto compare = json.find("compare"); compare != json.end() && compare->is_object())
    out.compare = std::make_shared<CompareReport>(compareFromJson(*compare));
  if (const auto stages = json.find("stages"); stages != json.end() && stages->is_object())
    for (const auto& [id, state] : stages->items())
      out.stages[QString::fromStdString(id)] = state;
  return out;
}

} // namespace

Result<OpenedThing> openThing(const QString& path, Feedback& feedback) {
  const fs::path where = path.toStdString();
  feedback.set_step(where.filename().string());
  if (looks_like_session(where))
    return open_session(where);
  OpenedThing out;
  TRY_ASSIGN(out.checkpoint, open_checkpoint(where));
  return out;
}

OrderedJson compareToJson(const CompareReport& report) {
  OrderedJson json;
  json["noise_floor"] = json_number(report.noise_floor);
  json["reference_perplexity"] = json_number(report.reference_perplexity);
  json["reference_stderr"] = json_number(report.reference_stderr);
  json["reference_seconds"] = json_number(report.reference_seconds);
  json["reference_window_nll"] = report.reference_window_nll;
  json["notes"] = report.notes;
  json["models"] = OrderedJson::array();
  for (const auto& m : report.models)
    json["models"].push_back({{"path", m.path},
                              {"bytes", m.bytes},
                              {"tokens", m.tokens},
                              {"perplexity", json_number(m.perplexity)},
                              {"perplexity_stderr", json_number(m.perplexity_stderr)},
                              {"reference_perplexity", json_number(m.reference_perplexity)},
                              {"ppl_ratio", json_number(m.ppl_ratio)},
                              {"ppl_ratio_stderr", json_number(m.ppl_ratio_stderr)},
                              {"kld_mean", json_number(m.kld_mean)},
                              {"kld_stderr", json_number(m.kld_stderr)},
                              {"kld_median", json_number(m.kld_median)},
                              {"kld_p99", json_number(m.kld_p99)},
                              {"kld_max", json_number(m.kld_max)},
                              {"top1_agreement", json_number(m.top1_agreement)},
                              {"seconds", json_number(m.seconds)},
                              {"window_nll", m.window_nll},
                              {"window_kld", m.window_kld},
                              {"notes", m.notes}});
  return json;
}

CompareReport compareFromJson(const Json& json) {
  CompareReport report;
  report.noise_floor = number(json, "noise_floor");
  report.reference_perplexity = number(json, "reference_perplexity");
  report.reference_stderr = number(json, "reference_stderr");
  report.reference_seconds = number(json, "reference_seconds");
  report.reference_window_nll = numbers(json, "reference_window_nll");
  report.notes = strings(json, "notes");
  if (const auto models = json.find("models"); models != json.end() && models->is_array())
    for (const auto& entry : *models) {
      if (!entry.is_object())
        continue;
      CompareResult m;
      if (const auto path = entry.find("path"); path != entry.end() && path->is_string())
        m.path = path->get<std::string>();
      const double bytes = number(entry, "bytes"), tokens = number(entry, "tokens");
      m.bytes = bytes >= 0 ? std::uint64_t(bytes) : 0;
      m.tokens = tokens >= 0 ? std::int64_t(tokens) : 0;
      m.perplexity = number(entry, "perplexity");
      m.perplexity_stderr = number(entry, "perplexity_stderr");
      m.reference_perplexity = number(entry, "reference_perplexity");
      m.ppl_ratio = number(entry, "ppl_ratio");
      m.ppl_ratio_stderr = number(entry, "ppl_ratio_stderr");
      m.kld_mean = number(entry, "kld_mean");
      m.kld_stderr = number(entry, "kld_stderr");
      m.kld_median = number(entry, "kld_median");
      m.kld_p99 = number(entry, "kld_p99");
      m.kld_max = number(entry, "kld_max");
      m.top1_agreement = number(entry, "top1_agreement");
      m.seconds = number(entry, "seconds");
      m.window_nll = numbers(entry, "window_nll");
      m.window_kld = numbers(entry, "window_kld");
      m.notes = strings(entry, "notes");
      report.models.push_back(std::move(m));
    }
  return report;
}

QString Workbench::sessionPath() const { return impl_->session_path; }

bool Workbench::modified() const {
  return impl_->checkpoint && (impl_->dirty || !impl_->undo.isClean());
}

Json Workbench::stageState(const QString& stage) const {
  const auto it = impl_->stages.find(stage);
  return it == impl_->stages.end() ? Json() : it->second;
}

void Workbench::setStageState(const QString& stage, const Json& state) {
  Json& kept = impl_->stages[stage];
  if (kept == state)
    return;
  kept = state;
  impl_->touch();
}

bool Workbench::saveSession(const QString& path, QString* error) {
  if (!impl_->checkpoint) {
    *error = tr("There is nothing to save: open a checkpoint first.");
    return false;
  }
  const fs::path where = QFileInfo(path).absoluteFilePath().toStdString();
  OrderedJson json;
  json["bitlathe_session"] = session_version;
  json["checkpoint"] = fs::absolute(impl_->checkpoint->path).lexically_normal().string();
  json["recipe"] = recipe_to_json(impl_->recipe);
  if (impl_->run)
    json["result"] = impl_->run->folder.toStdString();
  if (!impl_->statistics_path.isEmpty())
    json["statistics"] = impl_->statistics_path.toStdString();
  json["selection"] = OrderedJson::array();
  for (const auto& name : impl_->selection)
    json["selection"].push_back(name.toStdString());
  json["contenders"] = OrderedJson::array();
  for (const auto& other : impl_->extra)
    json["contenders"].push_back(fs::absolute(other.checkpoint->path).string());
  if (impl_->second)
    json["second"] = fs::absolute(impl_->second->path).string();
  if (impl_->compare && !impl_->comparing)
    json["compare"] = compareToJson(*impl_->compare);
  json["stages"] = OrderedJson::object();
  for (const auto& [id, state] : impl_->stages)
    json["stages"][id.toStdString()] = state;
  if (auto written = write_file(where, json.dump(2) + "\n"); !written) {
    *error = QString::fromStdString(written.error().text());
    return false;
  }
  impl_->session_path = QString::fromStdString(where.string());
  impl_->dirty = false;
  impl_->undo.setClean();
  Q_EMIT modifiedChanged();
  return true;
}

} // namespace bitlathe::gui
