// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/prompt_set.h"

#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>

namespace bitlathe::gui {
namespace {

constexpr qint64 largest_file = 16 << 20;

QString idOf(const QJsonObject& object, qsizetype number) {
  for (const char* key : {"id", "question_id", "name"}) {
    const QJsonValue value = object[QLatin1String(key)];
    if (value.isString())
      return value.toString();
    if (value.isDouble())
      return QString::number(value.toDouble(), 'g', 12);
  }
  return QString::number(number);
}

QString textOf(const QJsonObject& object) {
  for (const char* key : {"prompt", "text", "question"})
    if (const QJsonValue value = object[QLatin1String(key)]; value.isString())
      return value.toString();
  return object[QLatin1String("turns")].toArray().first().toString();
}

} // namespace

Result<QList<Prompt>> parsePrompts(const QByteArray& jsonl, const QString& where) {
  QList<Prompt> out;
  const auto bad = [&](qsizetype line, const QString& why) {
    return Error{"bad-file", QStringLiteral("Line %1: %2").arg(line).arg(why).toStdString(),
                 where.toStdString()};
  };
  qsizetype number = 0;
  for (QByteArray line : jsonl.split('\n')) {
    ++number;
    line = line.trimmed();
    if (line.isEmpty())
      continue;
    // A bare string is not a document for this parser, so every line is wrapped in a list.
    QJsonParseError problem;
    const QJsonArray list = QJsonDocument::fromJson('[' + line + ']', &problem).array();
    if (problem.error != QJsonParseError::NoError)
      return bad(number, QStringLiteral("not JSON (%1)").arg(problem.errorString()));
    const QJsonValue value = list.first();
    Prompt prompt{QString::number(out.size() + 1), value.toString()};
    if (value.isObject())
      prompt = {idOf(value.toObject(), out.size() + 1), textOf(value.toObject())};
    if (prompt.text.isEmpty())
      return bad(number, QStringLiteral("no \"prompt\" in this object"));
    out.push_back(prompt);
  }
  if (out.isEmpty())
    return Error{"bad-file", "There is no prompt in this file", where.toStdString()};
  return out;
}

Result<QList<Prompt>> readPrompts(const QString& path) {
  QFile file(path);
  if (!file.open(QIODevice::ReadOnly))
    return Error{"io", "Cannot read: " + file.errorString().toStdString(), path.toStdString()};
  if (file.size() > largest_file)
    return Error{"bad-file", "Prompt files above 16 MiB are not read", path.toStdString()};
  return parsePrompts(file.readAll(), QFileInfo(path).fileName());
}

QString promptTitle(const Prompt& prompt, int length) {
  const QString line = prompt.text.simplified();
  const QString shown = line.size() > length ? line.left(length - 1) + QChar(0x2026) : line;
  return QStringLiteral("%1  %2").arg(prompt.id, shown);
}

} // namespace bitlathe::gui
