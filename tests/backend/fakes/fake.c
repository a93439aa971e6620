/* A backend made to be loaded by tests; what it gets wrong, and how it behaves, is chosen at
 * compile time. Where the table is wrong no entry may ever be called, so all of them abort then
 * (FAKE_TRAP). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "backends/api/unetd_backend.h"

#ifndef FAKE_SIZE
#define FAKE_SIZE sizeof(unetd_backend)
#endif
#ifndef FAKE_MAJOR
#define FAKE_MAJOR UNETD_ABI_MAJOR
#endif
#ifndef FAKE_MINOR
#define FAKE_MINOR UNETD_ABI_MINOR
#endif
#ifndef FAKE_NAME
#define FAKE_NAME "fake"
#endif
#ifndef FAKE_VERSION
#define FAKE_VERSION "1.2.3"
#endif
#ifndef FAKE_RUN
#define FAKE_RUN Run
#endif
#ifndef FAKE_SUPPORTS
#define FAKE_SUPPORTS Supports
#endif
#ifndef FAKE_BEGIN_CAPTURE
#define FAKE_BEGIN_CAPTURE NULL
#endif
#ifndef FAKE_TABLE
#define FAKE_TABLE &table
#endif
#ifndef FAKE_ENTRY
#define FAKE_ENTRY unetd_backend_entry
#endif
#ifndef FAKE_OWNS_DOMAIN
#define FAKE_OWNS_DOMAIN 0
#endif
#ifndef FAKE_DOMAIN
#define FAKE_DOMAIN "host"
#endif
#ifndef FAKE_CODE
#define FAKE_CODE UNETD_UNSUPPORTED
#endif
#ifndef FAKE_OPEN_CODE
#define FAKE_OPEN_CODE UNETD_OK
#endif
#ifndef FAKE_WORDS
#define FAKE_WORDS "on principle, this backend serves nothing"
#endif

static void Trap(void) {
#ifdef FAKE_TRAP
  abort();
#endif
}

static void Say(unetd_error* error) {
#ifdef FAKE_UNTERMINATED
  memset(error->text, 'x', sizeof(error->text));
#else
  memcpy(error->text, FAKE_WORDS, sizeof(FAKE_WORDS));
#endif
}

static int32_t Open(const unetd_host* host, const unetd_option* options, uint32_t option_count,
                    void** state, unetd_error* error) {
  Trap();
  (void)options;
  if (option_count != 0 || FAKE_OPEN_CODE != UNETD_OK) {
    Say(error);
    return option_count != 0 ? UNETD_INVALID : FAKE_OPEN_CODE;
  }
  host->log(1, "the fake is open");
  *state = NULL;
  return UNETD_OK;
}

static void Close(void* state) {
  Trap();
  (void)state;
}

static int32_t Describe(void* state, unetd_backend_info* info, unetd_error* error) {
  Trap();
  (void)state;
  (void)error;
  info->owns_domain = FAKE_OWNS_DOMAIN;
#ifdef FAKE_UNTERMINATED
  memset(info->device, 'd', sizeof(info->device));
#endif
#ifdef FAKE_LONG_DOMAIN
  memset(info->domain, 'd', sizeof(info->domain));
#else
  memcpy(info->domain, FAKE_DOMAIN, sizeof(FAKE_DOMAIN));
#endif
  return UNETD_OK;
}

#if !defined(FAKE_NO_SUPPORTS)
static int32_t Supports(void* state, const unetd_op_desc* desc, unetd_error* why_not) {
  Trap();
  (void)state;
  (void)desc;
  Say(why_not);
  return FAKE_CODE;
}
#endif

static int32_t PackRecipe(void* state, const unetd_op_desc* desc, uint32_t weight,
                          unetd_recipe* recipe, unetd_error* error) {
  Trap();
  (void)state;
  (void)desc;
  (void)weight;
  (void)recipe;
  Say(error);
  return FAKE_CODE;
}

static int32_t Pack(void* state, const unetd_op_desc* desc, uint32_t weight,
                    const unetd_recipe* recipe, const unetd_weight* source, const unetd_gang* gang,
                    void* packed, unetd_error* error) {
  Trap();
  (void)state;
  (void)desc;
  (void)weight;
  (void)recipe;
  (void)source;
  (void)gang;
  (void)packed;
  Say(error);
  return FAKE_CODE;
}

static int32_t Prepare(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                       unetd_error* error) {
  Trap();
  (void)state;
  (void)desc;
  (void)prepared;
  Say(error);
  return FAKE_CODE;
}

#if !defined(FAKE_NO_RUN)
static int32_t Run(void* state, const void* handle, const unetd_exec* exec, const unetd_args* args,
                   unetd_error* error) {
  Trap();
  (void)state;
  (void)handle;
  (void)exec;
  (void)args;
  Say(error);
  return FAKE_CODE;
}
#endif

static void Release(void* state, void* handle) {
  Trap();
  (void)state;
  (void)handle;
}

#ifdef FAKE_IMPORT
int32_t a_function_that_nobody_defines(void);
#endif

UNETD_EXPORT const unetd_backend* FAKE_ENTRY(void);
const unetd_backend* FAKE_ENTRY(void) {
#ifdef FAKE_IMPORT
  if (a_function_that_nobody_defines() != 0) return NULL;
#endif
  static const unetd_backend table = {
      .struct_size = FAKE_SIZE,
      .abi_major = FAKE_MAJOR,
      .abi_minor = FAKE_MINOR,
      .name = FAKE_NAME,
      .version = FAKE_VERSION,
      .open = Open,
      .close = Close,
      .describe = Describe,
      .begin_capture = FAKE_BEGIN_CAPTURE,
      .supports = FAKE_SUPPORTS,
      .pack_recipe = PackRecipe,
      .pack = Pack,
      .prepare = Prepare,
      .run = FAKE_RUN,
      .release = Release,
  };
  return FAKE_TABLE;
}
