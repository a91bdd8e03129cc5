// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/prompt_sets.h"

#include "app/gui/workbench.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>

namespace bitlathe::gui {

QString generalPromptsPath() {
  const QString program = QCoreApplication::applicationDirPath();
  for (const QString& path :
       {program + "/../share/bitlathe/prompts/general.jsonl",
        program + "/../../../resources/prompts/general.jsonl",
        QStringLiteral(BITLATHE_SOURCE_DIR "/resources/prompts/general.jsonl")})
    if (QFileInfo::exists(path))
      return QFileInfo(path).canonicalFilePath();
  return {};
}

QList<PromptSetOffer> offeredPromptSets(const QString& folder) {
  QList<PromptSetOffer> out;
  const auto offer = [&](const QString& title, const QString& path) {
    if (path.isEmpty() || !QFileInfo::exists(path))
      return;
    const QString whole = QFileInfo(path).canonicalFilePath();
    for (const PromptSetOffer& other : out)
      if (other.path == whole)
        return;
    out.push_back({title, whole});
  };
  const QString demo = demoModelPath();
  const QString of_demo =
      demo.isEmpty() ? QString() : QDir(demo).filePath(QStringLiteral("prompts.jsonl"));
  const QString title = QObject::tr("Demo prompts");
  if (QFileInfo(folder).canonicalFilePath() == demo)
    offer(title, of_demo);
  offer(QObject::tr("This model's prompts"),
        QDir(folder).filePath(QStringLiteral("prompts.jsonl")));
  offer(QObject::tr("Prompts beside the model"),
        QFileInfo(folder).dir().filePath(QStringLiteral("prompts.jsonl")));
  // Continuations of stories for the demo model, messages to an assistant for others.
  if (out.isEmpty())
    offer(QObject::tr("General prompts"), generalPromptsPath());
  offer(title, of_demo);
  offer(QObject::tr("General prompts"), generalPromptsPath());
  return out;
}

QString promptTitle(const Prompt& prompt, int length) {
  const QString line = QString::fromStdString(prompt.text).simplified();
  const QString shown = line.size() > length ? line.left(length - 1) + QChar(0x2026) : line;
  return QStringLiteral("%1  %2").arg(QString::fromStdString(prompt.id), shown);
}

} // namespace bitlathe::gui
