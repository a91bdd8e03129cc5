// SPDX-License-Identifier: Apache-2.0
// Expected failures as values: Result<T> is a T or an Error. Bugs are asserts; nothing throws
// across a target's boundary and nothing aborts on input.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace bitlathe {

/// What went wrong. `code` is for programs (see the list below), `message` is a sentence for people
/// that names the cause, `where` names the file, tensor, module or key.
///
/// Codes in use: "not-found", "bad-file", "bad-argument", "unsupported", "io", "no-space",
/// "cancelled", "device-lost", "no-device", "out-of-memory", "not-available", "mismatch",
/// "internal".
struct Error {
  std::string code;
  std::string message;
  std::string where;

  bool cancelled() const { return code == "cancelled"; }
  /// "message (where)".
  std::string text() const { return where.empty() ? message : message + " (" + where + ")"; }
};

inline Error cancelled_error() { return {"cancelled", "Cancelled", {}}; }

template <class T> class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() { return *std::get_if<1>(&state_); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

template <> class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  Error& error() { return *error_; }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

} // namespace bitlathe

#define BITLATHE_CAT2(a, b) a##b
#define BITLATHE_CAT(a, b) BITLATHE_CAT2(a, b)
/// TRY(expr): return the error of `expr` from this function, if it has one.
#define TRY(expr)                                                                                  \
  do {                                                                                             \
    if (auto try_result_ = (expr); !try_result_)                                                   \
      return std::move(try_result_.error());                                                       \
  } while (false)
/// TRY_ASSIGN(auto x, expr): x becomes the value of `expr`, or its error is returned.
#define TRY_ASSIGN(lhs, expr) TRY_ASSIGN_IMPL(BITLATHE_CAT(try_value_, __LINE__), lhs, expr)
#define TRY_ASSIGN_IMPL(tmp, lhs, expr)                                                            \
  auto tmp = (expr);                                                                               \
  if (!tmp)                                                                                        \
    return std::move(tmp.error());                                                                 \
  lhs = std::move(*tmp)
