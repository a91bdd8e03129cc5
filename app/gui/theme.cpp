// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/theme.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <QApplication>
#include <QFontDatabase>
#include <QFontMetricsF>
#include <QLabel>
#include <QPalette>
#include <QStyle>
#include <QStyleFactory>

namespace bitlathe::gui {

QString styleSheetFor(const ThemeColors& c, bool dark); // theme_sheet.cpp

namespace {

ThemeColors light_colors() {
  ThemeColors c;
  c.window = 0xeef1f4;
  c.panel = 0xf8f9fb;
  c.raised = 0xffffff;
  c.border = 0xd5dbe2;
  c.grid = 0xe6eaef;
  c.text = 0x1c2733;
  c.muted = 0x5d6b7a;
  c.accent = 0x0f7f86;
  c.selection = 0xcfe9ea;
  c.hover = 0xe9eef3;
  c.original = 0x66788c;
  c.quantized = 0x0f9296;
  c.second = 0x8053c6;
  c.outlier = 0xd98a00;
  c.error = 0xc8313b;
  c.ok = 0x23885a;
  c.warning = 0x9a6200;
  return c;
}

ThemeColors dark_colors() {
  ThemeColors c;
  c.window = 0x12171d;
  c.panel = 0x181f27;
  c.raised = 0x1f2831;
  c.border = 0x323e4a;
  c.grid = 0x2a343f;
  c.text = 0xe4eaf0;
  c.muted = 0x97a6b5;
  c.accent = 0x35b3b5;
  c.selection = 0x1f4a50;
  c.hover = 0x27323d;
  c.original = 0x93a5b8;
  c.quantized = 0x35bdbb;
  c.second = 0xb08cf0;
  c.outlier = 0xf2ab33;
  c.error = 0xf0646a;
  c.ok = 0x4fc48b;
  c.warning = 0xf2b75a;
  return c;
}

struct Stop {
  double at;
  QRgb color;
};

template <std::size_t N> QColor along(const std::array<Stop, N>& stops, double at) {
  if (!(at > stops.front().at))
    return QColor(stops.front().color);
  for (std::size_t i = 1; i < N; ++i)
    if (at <= stops[i].at)
      return mixed(QColor(stops[i - 1].color), QColor(stops[i].color),
                   (at - stops[i - 1].at) / (stops[i].at - stops[i - 1].at));
  return QColor(stops.back().color);
}

double luminance(const QColor& color) {
  const auto linear = [](double v) {
    return v <= 0.03928 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(color.redF()) + 0.7152 * linear(color.greenF()) +
         0.0722 * linear(color.blueF());
}

} // namespace

Theme& Theme::instance() {
  static Theme theme;
  return theme;
}

void Theme::apply(QApplication& app, ThemeMode mode) {
  mode_ = mode;
  if (mode == ThemeMode::system) {
    // Qt 6.4 has no colour-scheme query; the platform's own palette tells.
    static const QPalette platform = QApplication::style()->standardPalette();
    const QPalette start = QGuiApplication::palette();
    static const bool system_dark = luminance(start.color(QPalette::Window)) < 0.2 ||
                                    luminance(platform.color(QPalette::Window)) < 0.2;
    dark_ = system_dark;
  } else {
    dark_ = mode == ThemeMode::dark;
  }
  colors_ = dark_ ? dark_colors() : light_colors();
  const ThemeColors& c = colors_;

  static bool first = true;
  if (first) {
    first = false;
    app.setStyle(QStyleFactory::create(QStringLiteral("Fusion")));
    QFont font = QApplication::font();
    font.setPointSizeF(9.0);
    app.setFont(font);
  }
  QPalette p;
  p.setColor(QPalette::Window, c.window);
  p.setColor(QPalette::WindowText, c.text);
  p.setColor(QPalette::Base, c.raised);
  p.setColor(QPalette::AlternateBase, mixed(c.raised, c.panel, 0.7));
  p.setColor(QPalette::Text, c.text);
  p.setColor(QPalette::Button, c.panel);
  p.setColor(QPalette::ButtonText, c.text);
  p.setColor(QPalette::BrightText, c.error);
  p.setColor(QPalette::ToolTipBase, c.raised);
  p.setColor(QPalette::ToolTipText, c.text);
  p.setColor(QPalette::PlaceholderText, c.muted);
  p.setColor(QPalette::Highlight, c.selection);
  p.setColor(QPalette::HighlightedText, c.text);
  p.setColor(QPalette::Link, c.accent);
  p.setColor(QPalette::LinkVisited, c.second);
  p.setColor(QPalette::Light, mixed(c.panel, c.raised, 0.5));
  p.setColor(QPalette::Midlight, c.panel);
  p.setColor(QPalette::Mid, c.border);
  p.setColor(QPalette::Dark, mixed(c.border, c.text, 0.2));
  p.setColor(QPalette::Shadow, dark_ ? QColor(Qt::black) : mixed(c.border, c.text, 0.3));
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
    p.setColor(QPalette::Disabled, role, mixed(c.muted, c.panel, 0.45));
  app.setPalette(p);
  app.setStyleSheet(styleSheetFor(c, dark_));
  Q_EMIT changed();
}

const ThemeColors& theme() { return Theme::instance().colors(); }

QColor mixed(const QColor& a, const QColor& b, double t) {
  const auto part = [t](double x, double y) {
    return float(std::clamp(x + (y - x) * t, 0.0, 1.0));
  };
  return QColor::fromRgbF(part(a.redF(), b.redF()), part(a.greenF(), b.greenF()),
                          part(a.blueF(), b.blueF()), part(a.alphaF(), b.alphaF()));
}

QColor precisionColor(double bits) {
  // Lightness rises with the bits, so that the order survives without colour vision.
  static constexpr std::array<Stop, 8> stops{{{1.0, 0xff6b2fa0},   // 2 bits
                                              {1.585, 0xff5a4fc0}, // 3
                                              {2.0, 0xff3d73c4},   // 4
                                              {2.322, 0xff2a90b8}, // 5
                                              {2.585, 0xff24a59e}, // 6
                                              {3.0, 0xff4cb782},   // 8
                                              {4.0, 0xffa9c86a},   // 16
                                              {5.0, 0xffe3cf7a}}}; // 32
  return along(stops, std::log2(std::clamp(bits, 1.0, 32.0)));
}

QColor textOn(const QColor& background) {
  return luminance(background) > 0.3 ? QColor(0x10, 0x18, 0x20) : QColor(Qt::white);
}

QColor heatColor(double t) {
  static constexpr std::array<Stop, 6> on_dark{{{0.0, 0xff141b24},
                                                {0.2, 0xff1d3f5c},
                                                {0.45, 0xff1f7f8c},
                                                {0.7, 0xff5cc08a},
                                                {0.88, 0xfff0d268},
                                                {1.0, 0xfffff4cf}}};
  static constexpr std::array<Stop, 6> on_light{{{0.0, 0xfff7f9fb},
                                                 {0.2, 0xffcfe6df},
                                                 {0.45, 0xff6fbfb4},
                                                 {0.7, 0xff2a7f98},
                                                 {0.88, 0xff2b4a80},
                                                 {1.0, 0xff2a1a4e}}};
  return along(Theme::instance().dark() ? on_dark : on_light, t);
}

QColor divergingColor(double t) {
  static constexpr std::array<Stop, 5> on_dark{{{-1.0, 0xff6fb7ff},
                                                {-0.4, 0xff2a5f93},
                                                {0.0, 0xff1a212a},
                                                {0.4, 0xff9a5a1c},
                                                {1.0, 0xffffb057}}};
  static constexpr std::array<Stop, 5> on_light{{{-1.0, 0xff1f5fa8},
                                                 {-0.4, 0xff8fb9dd},
                                                 {0.0, 0xfff8f9fa},
                                                 {0.4, 0xfff2bd85},
                                                 {1.0, 0xffb85a00}}};
  return along(Theme::instance().dark() ? on_dark : on_light, t);
}

QFont titleFont() {
  QFont font = QApplication::font();
  font.setPointSizeF(font.pointSizeF() * 1.15);
  font.setWeight(QFont::DemiBold);
  return font;
}

QFont smallFont() {
  QFont font = QApplication::font();
  font.setPointSizeF(font.pointSizeF() * 0.89);
  return font;
}

QFont numberFont() {
  // QFont cannot ask for tabular figures before Qt 6.7: use the application's font when its digits
  // are equally wide anyway, the fixed-pitch one otherwise.
  static QString checked_family;
  static bool tabular = false;
  const QFont font = QApplication::font();
  if (checked_family != font.family()) {
    checked_family = font.family();
    const QFontMetricsF metrics(font);
    tabular = true;
    for (char digit = '1'; digit <= '9'; ++digit)
      tabular = tabular && std::abs(metrics.horizontalAdvance(QLatin1Char(digit)) -
                                    metrics.horizontalAdvance('0')) < 0.01;
  }
  if (tabular)
    return font;
  QFont fixed = QFontDatabase::systemFont(QFontDatabase::FixedFont);
  fixed.setPointSizeF(font.pointSizeF());
  return fixed;
}

QFont codeFont() {
  QFont font = QFontDatabase::systemFont(QFontDatabase::FixedFont);
  font.setPointSizeF(QApplication::font().pointSizeF() * 0.97);
  return font;
}

QLabel* makeTitle(const QString& text, QWidget* parent) {
  auto* label = new QLabel(text, parent);
  label->setFont(titleFont());
  return label;
}

QLabel* makeCaption(const QString& text, QWidget* parent) {
  auto* label = new QLabel(text, parent);
  label->setFont(smallFont());
  label->setWordWrap(true);
  setRole(label, "muted");
  return label;
}

void setRole(QWidget* widget, const char* role) {
  widget->setProperty("role", QString::fromLatin1(role));
  if (widget->isVisible()) {
    widget->style()->unpolish(widget);
    widget->style()->polish(widget);
  }
}

} // namespace bitlathe::gui
