// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/second_errors.h"

#include "app/gui/format.h"
#include "core/eval/weight_compare.h"

namespace bitlathe::gui {

namespace {

Result<SecondError> measure(const Module& first, const Module* other, Compute& compute,
                            Feedback& feedback) {
  SecondError out;
  if (!other) {
    out.reason = SecondErrors::tr("the second checkpoint has no such module");
    return out;
  }
  if (const auto reason = why_not_comparable(first, *other); !reason.empty()) {
    out.reason = QString::fromStdString(reason);
    return out;
  }
  TRY_ASSIGN(const ErrorSums sums, weight_error(first, *other, compute, feedback));
  out.mse = sums.mse();
  out.sqnr_db = sums.sqnr_db();
  out.cosine = sums.cosine();
  out.max_abs = double(sums.max_abs_error);
  return out;
}

} // namespace

QString errorText(const SecondError& error) {
  if (!error.reason.isEmpty())
    return error.reason;
  if (error.mse == 0)
    return SecondErrors::tr("equal, value by value");
  return SecondErrors::tr("SQNR %1 dB, MSE %2, cosine %3, largest difference %4")
      .arg(QString::number(error.sqnr_db, 'f', 2), formatNumber(error.mse, 3),
           formatNumber(error.cosine, 6), formatNumber(error.max_abs, 3));
}

SecondErrors& SecondErrors::of(Workbench& workbench) {
  auto* existing = workbench.findChild<SecondErrors*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new SecondErrors(workbench);
}

SecondErrors::SecondErrors(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  const auto renew = [this] {
    if (second_ == workbench_.second())
      return;
    second_ = workbench_.second();
    known_.clear();
    pending_.clear();
    Q_EMIT changed({});
  };
  connect(&workbench, &Workbench::secondChanged, this, renew);
  connect(&workbench, &Workbench::opened, this, renew);
  connect(&workbench.engine(), &EngineThread::progressed, this, &SecondErrors::drain);
  second_ = workbench.second();
}

const SecondError* SecondErrors::find(const QString& module) const {
  const auto it = known_.find(module);
  return it == known_.end() ? nullptr : &it->second;
}

void SecondErrors::request(const QString& module) {
  const auto first = workbench_.checkpoint();
  if (!second_ || !first || module.isEmpty() || find(module) || pending_ == module)
    return;
  const Module* own = first->find_module(module.toStdString());
  if (!own)
    return;
  pending_ = module;
  workbench_.engine().run<SecondError>(
      QStringLiteral("second-error"), tr("Error of %1").arg(module), this,
      [first, second = second_, own, other = workbench_.secondModule(module)](
          Feedback& feedback, Compute& compute) { return measure(*own, other, compute, feedback); },
      [this, module, second = second_](Result<SecondError> done) {
        if (pending_ == module)
          pending_.clear();
        if (second != second_ || (!done && done.error().cancelled()))
          return;
        SecondError error;
        if (done)
          error = *done;
        else
          error.reason = QString::fromStdString(done.error().text());
        known_[module] = error;
        Q_EMIT changed({module});
      },
      false);
}

void SecondErrors::measureAll() {
  const auto first = workbench_.checkpoint();
  if (!second_ || !first || measuring_)
    return;
  struct Pair {
    QString name;
    const Module *own, *other;
  };
  std::vector<Pair> pairs;
  quint64 bytes = 0;
  for (const auto& module : first->modules) {
    const QString name = QString::fromStdString(module.name);
    if (find(name))
      continue;
    pairs.push_back({name, &module, workbench_.secondModule(name)});
    bytes += module.weight.bytes() + 1;
  }
  if (pairs.empty())
    return;
  measuring_ = true;
  Q_EMIT measuringChanged();
  workbench_.engine().run<int>(
      QStringLiteral("second-errors"),
      tr("Measure all layers against %1").arg(QString::fromStdString(second_->name)), this,
      [this, first, second = second_, pairs = std::move(pairs),
       bytes](Feedback& feedback, Compute& compute) -> Result<int> {
        feedback.total = bytes;
        for (const auto& pair : pairs) {
          feedback.set_step(pair.own->name);
          TRY_ASSIGN(auto error, measure(*pair.own, pair.other, compute, feedback));
          feedback.advance(pair.own->weight.bytes() + 1);
          const std::lock_guard lock(mutex_);
          incoming_.push_back({second, pair.name, std::move(error)});
        }
        return int(pairs.size());
      },
      [this](Result<int> done) {
        drain();
        measuring_ = false;
        Q_EMIT measuringChanged();
        if (!done && !done.error().cancelled())
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(done.error().text()));
      });
}

void SecondErrors::drain() {
  std::vector<Measured> fresh;
  {
    const std::lock_guard lock(mutex_);
    fresh.swap(incoming_);
  }
  QStringList names;
  for (auto& measured : fresh)
    if (measured.second == second_) { // else the job of a checkpoint that was closed meanwhile
      names.append(measured.module);
      known_[measured.module] = std::move(measured.error);
    }
  if (!names.isEmpty())
    Q_EMIT changed(names);
}

} // namespace bitlathe::gui
