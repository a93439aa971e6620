/* The backend ABI of unetd, version 1.1 (C11).
 *
 * A backend is a shared library that exports one symbol, UNETD_BACKEND_ENTRY, a function that
 * returns a table (unetd_backend). The host checks struct_size, abi_major and the required entries
 * before it calls anything.
 *
 * Rules. Fixed-width integers only. Errors go into a caller-owned unetd_error. No exception, STL
 * type or ownership crosses. A struct grows at its end only; a reader trusts no field beyond
 * struct_size. A backend answers UNETD_UNSUPPORTED, with a reason, to any kind, dtype, flag or
 * value that it does not know.
 *
 * Rows. A descriptor speaks of ONE row of the batch; the number of rows is an argument of `run`. A
 * row's address is spaces[space][row] + offset, so rows may lie anywhere. On a backend with
 * batch_invariant = 1 a row's bits depend on the descriptor and the CPU's features alone: never on
 * rows, slots, threads or timing.
 *
 * Threads. open, close, supports, pack_recipe and prepare are called by one thread at a time. `run`
 * may be called at once for different exec structs; a prepared object is immutable. A plugin starts
 * no threads: it hands tasks to exec->gang. */
#ifndef UNETD_BACKEND_H_
#define UNETD_BACKEND_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNETD_ABI_MAJOR 1
#define UNETD_ABI_MINOR 1
#define UNETD_BACKEND_ENTRY "unetd_backend_entry"
#define UNETD_EXPORT __attribute__((visibility("default")))

/* What every fallible call returns. */
enum {
  UNETD_OK = 0,
  UNETD_UNSUPPORTED = 1, /* not served here: `why` says so in the backend's own words */
  UNETD_INVALID = 2,     /* the caller broke the contract */
  UNETD_NO_MEMORY = 3,
  UNETD_CANCELLED = 4,
  UNETD_FAILED = 5
};

typedef struct unetd_error {
  char text[512]; /* NUL-terminated */
} unetd_error;

enum {
  UNETD_DTYPE_NONE = 0,
  UNETD_DTYPE_F32 = 1,
  UNETD_DTYPE_F16 = 2,
  UNETD_DTYPE_BF16 = 3,
  UNETD_DTYPE_F64 = 4,
  UNETD_DTYPE_BOOL = 5,
  UNETD_DTYPE_I8 = 6,
  UNETD_DTYPE_I16 = 7,
  UNETD_DTYPE_I32 = 8,
  UNETD_DTYPE_I64 = 9,
  UNETD_DTYPE_U8 = 10,
  UNETD_DTYPE_U16 = 11,
  UNETD_DTYPE_U32 = 12,
  UNETD_DTYPE_U64 = 13
};

/* ---- descriptors
 * ------------------------------------------------------------------------------------------ */

/* One row's value: tokens x channels with the channels side by side in memory (an image is
 * channels-last: token y * width + x). tokens = 0 says that the argument is absent. */
typedef struct unetd_view {
  uint64_t tokens;
  uint64_t stride; /* elements from one token to the next, >= channels */
  uint32_t channels;
  int32_t dtype;
} unetd_view;

/* The arguments that operators know; each kind says below which it takes. */
enum {
  UNETD_ARG_SRC0 = 0, /* the input; up to four channel segments, read as one concatenated value */
  UNETD_ARG_SRC1 = 1,
  UNETD_ARG_SRC2 = 2,
  UNETD_ARG_SRC3 = 3,
  UNETD_ARG_KEY = 4,
  UNETD_ARG_VALUE = 5,
  UNETD_ARG_MASK = 6,      /* additive, float32: [1, K] for every query, or [Q, K] */
  UNETD_ARG_RESIDUAL = 7,  /* as dst, added to it */
  UNETD_ARG_ROW_BIAS = 8,  /* [1, channels of dst], added to every token */
  UNETD_ARG_ROW_SCALE = 9, /* [1, channels of dst] */
  UNETD_ARG_ROW_SHIFT = 10,
  UNETD_ARG_STATS_IN = 11, /* [groups, 2] float32: mean and 1/sqrt(var + eps) */
  UNETD_ARG_DST = 12,
  UNETD_ARG_STATS_OUT = 13,
  UNETD_ARG_COUNT = 16
};
#define UNETD_MAX_SEGMENTS 4
#define UNETD_MAX_WEIGHTS 16

enum {
  UNETD_OP_CONV2D = 1,
  UNETD_OP_LINEAR = 2,
  UNETD_OP_GROUP_NORM = 3,
  UNETD_OP_LAYER_NORM = 4,
  UNETD_OP_ATTENTION = 5,
  UNETD_OP_RESIZE = 6,
  UNETD_OP_GATHER_ROWS = 7,
  UNETD_OP_ELEMENTWISE = 8,
  UNETD_OP_LAYOUT = 9,
  UNETD_OP_COPY = 10,
  UNETD_OP_SINUSOID = 11,
  UNETD_OP_LOOKUP = 12
};

enum {
  UNETD_ACT_NONE = 0,
  UNETD_ACT_SILU = 1,
  UNETD_ACT_GELU = 2, /* exact, by erf */
  UNETD_ACT_MISH = 3,
  UNETD_ACT_RELU = 4,
  UNETD_ACT_GEGLU =
      5 /* linear only: first half of the columns * gelu(second half); dst has half the columns */
};

/* How 3x3 convolutions are computed. Winograd's way is faster and needs up to four times the
 * weights' bytes; where a backend does not have it, it sums directly. */
enum {
  UNETD_CONV_AUTO = 0, /* as pays: a fixed rule of the layer and its reference size */
  UNETD_CONV_DIRECT = 1,
  UNETD_CONV_WINOGRAD = 2
};

/* dst = (act(conv(resize(src)) + bias + row_bias) + residual) * out_scale.
 * Weights: [0] [out, in, kernel_h, kernel_w], [1] bias [out] if has_bias. */
typedef struct unetd_conv2d {
  uint32_t in_h, in_w, out_h, out_w;
  uint32_t kernel_h, kernel_w, stride;
  uint32_t pad_top, pad_left, pad_bottom, pad_right;
  uint32_t resize_h,
      resize_w; /* nearest: the size that src is brought to before it is convolved; 0: as it is */
  uint32_t has_bias;
  uint32_t activation;
  float out_scale;
  /* Since 1.1; zeros before. */
  uint32_t algorithm;
  /* The output size that the choice goes by: this layer's at the model's largest declared shape, so
   * that a weight has one packing whatever sizes are served. Both 0: out_h and out_w. */
  uint32_t reference_h, reference_w;
} unetd_conv2d;

/* dst = (act(src * W^T + bias + row_bias) + residual) * out_scale. Weights: [0..segments-1]
 * [segment_rows[i], in], side by side in dst; [segments + i] bias of segment i if bit i of
 * bias_mask is set (else absent). */
typedef struct unetd_linear {
  uint32_t segments;
  uint32_t segment_rows[UNETD_MAX_WEIGHTS / 2];
  uint32_t bias_mask;
  uint32_t activation;
  float out_scale;
} unetd_linear;

/* y = (x - mean) / sqrt(var + eps) * gamma + beta over channels/groups x tokens; y = y * (1 +
 * row_scale) + row_shift where given; dst = act(y). Weights: [0] gamma, [1] beta, both if affine.
 */
typedef struct unetd_group_norm {
  uint32_t groups;
  uint32_t affine;
  uint32_t activation;
  float eps;
} unetd_group_norm;

/* Over the channels of each token. Weights: [0] gamma, [1] beta, both if affine. */
typedef struct unetd_layer_norm {
  uint32_t affine;
  float eps;
} unetd_layer_norm;

enum {
  UNETD_ATTENTION_MATH = 1,   /* whole score matrix: O(heads * Q * K) */
  UNETD_ATTENTION_SDPA = 2,   /* tiled, online softmax: O(Q * D) */
  UNETD_ATTENTION_SLICED = 3, /* math, slice_size heads at a time: O(slice_size * Q * K) */
  UNETD_ATTENTION_MEMORY_EFFICIENT = 4, /* tiled, by the xFormers op named in `op` ("" = best) */
  UNETD_ATTENTION_NPU = 5
};

/* dst[q, h] = softmax(scale * q[h] . k[h] + mask) v[h]. src [Q, heads * head_dim], key and value
 * [K, heads * head_dim], dst as src; head h is the channels [h * head_dim, (h + 1) * head_dim). */
typedef struct unetd_attention {
  uint32_t algorithm;
  uint32_t heads, head_dim;
  uint32_t slice_size;    /* sliced: heads at a time, >= 1 */
  uint32_t upcast_scores; /* scores and softmax in float32 whatever the storage dtype */
  uint32_t bool_mask;     /* the mask holds 0 (keep) or a value <= -10000 (drop) */
  float scale;
  char op[64];
} unetd_attention;

/* Blurs are separable, of [1, 3, 3, 1] / 8, with the edges reflected (out_h = in_h / 2 or 2 * in_h,
 * out_w alike, in_h and in_w at least 2): diffusers' KDownsample2D and KUpsample2D. The mean is of
 * all tokens: out_h = out_w = 1. */
enum {
  UNETD_RESIZE_NEAREST = 1,
  UNETD_RESIZE_AVERAGE_2X2 = 2,
  UNETD_RESIZE_BLUR_DOWN = 3,
  UNETD_RESIZE_BLUR_UP = 4,
  UNETD_RESIZE_MEAN = 5
};
typedef struct unetd_resize {
  uint32_t mode;
  uint32_t in_h, in_w, out_h, out_w;
} unetd_resize;

/* dst of row i = src of row first + ((i - first) / f) * f, f = max(1, size / batch_size), where
 * first and size are the row's group (exec->group_first, group_size). */
typedef struct unetd_gather_rows {
  uint32_t batch_size;
} unetd_gather_rows;

/* dst = act(src * scale + shift) * row_scale + residual; segments of src are concatenated; dtypes
 * may differ (a cast). row_scale is [1, channels of dst], or [tokens, 1]. A
 * dst of dtype BOOL is 1 where that is not 0. */
typedef struct unetd_elementwise {
  uint32_t activation;
  float scale, shift;
} unetd_elementwise;

/* Between planar (channel, y, x) and channels-last with a cast: dst = src * scale + shift. A planar
 * view has tokens = height * width, and stride 0. */
enum { UNETD_LAYOUT_TO_CHANNELS_LAST = 1, UNETD_LAYOUT_TO_PLANAR = 2 };
typedef struct unetd_layout {
  uint32_t direction;
  float scale, shift;
} unetd_layout;

/* src [n, 1] float32; dst [1, n * dim]: for each of n scalars x: with half = dim / 2 and
 * f_i = exp(-ln(10000) * i / (half - freq_shift)): [cos(x f), sin(x f)] if flip_sin_to_cos, else
 * [sin, cos]; an odd dim is padded right by 0. Arithmetic in float32, as diffusers'
 * get_timestep_embedding. With `fourier` the f_i are 2 pi * weight [0] [dim / 2] and x is used as
 * it is (GaussianFourierProjection with log = False). */
typedef struct unetd_sinusoid {
  uint32_t dim;
  uint32_t flip_sin_to_cos;
  float freq_shift;
  uint32_t fourier;
} unetd_sinusoid;

/* src [1, 1] int32 (checked by the host); dst = row src of the table. Weights: [0] [entries,
 * channels of dst]. */
typedef struct unetd_lookup {
  uint32_t entries;
} unetd_lookup;

typedef struct unetd_op_desc {
  uint32_t struct_size;
  uint32_t kind;
  int32_t weight_dtype;  /* how packed weights are stored */
  int32_t compute_dtype; /* products: what their factors may be rounded to. BF16 for convolution,
                            linear and attention of a bfloat16 model, where float32 will do, too;
                            else F32 */
  int32_t sum_dtype;     /* accumulators */
  uint32_t reserved;
  unetd_view args[UNETD_ARG_COUNT];
  union {
    unetd_conv2d conv2d;
    unetd_linear linear;
    unetd_group_norm group_norm;
    unetd_layer_norm layer_norm;
    unetd_attention attention;
    unetd_resize resize;
    unetd_gather_rows gather_rows;
    unetd_elementwise elementwise;
    unetd_layout layout;
    unetd_sinusoid sinusoid;
    unetd_lookup lookup;
    uint8_t bytes[256];
  } u;
} unetd_op_desc;

/* ---- weights
 * ---------------------------------------------------------------------------------------------- */

/* A checkpoint's tensor: row-major, dense, in host memory. */
typedef struct unetd_weight {
  const void* data;
  int32_t dtype; /* F32, F16 or BF16 */
  uint32_t rank;
  uint64_t dims[4];
} unetd_weight;

/* How one weight of a descriptor is packed. Two weights with equal content, `name` and `bytes` may
 * share one packed copy, so `name` holds all that decides the bytes (layout, storage dtype,
 * blocking). */
typedef struct unetd_recipe {
  char name[96];
  uint64_t bytes;
} unetd_recipe;

/* ---- running
 * ---------------------------------------------------------------------------------------------- */

enum {
  UNETD_SPACE_ARENA = 0,     /* the domain's arena, a slot a row */
  UNETD_SPACE_INPUT = 1,     /* what the request sent, a block a row */
  UNETD_SPACE_CONDITION = 2, /* what the condition section wrote */
  UNETD_SPACE_SCHEDULE = 3,  /* what the schedule section wrote for this step */
  UNETD_SPACE_TIME = 4,      /* the timestep, float32 */
  UNETD_SPACE_OUTPUT = 5,
  UNETD_SPACE_COUNT = 8
};

typedef struct unetd_operand {
  uint64_t offset; /* bytes from the row's address in its space */
  uint32_t space;
  uint32_t present;
} unetd_operand;

typedef struct unetd_args {
  uint32_t struct_size;
  uint32_t weight_count;
  unetd_operand args[UNETD_ARG_COUNT];
  const void* weights[UNETD_MAX_WEIGHTS]; /* packed; NULL where the descriptor has none */
} unetd_args;

typedef void (*unetd_task)(void* context, uint32_t task, uint32_t thread);

/* The domain's threads. `parallel` runs fn(context, 0..tasks-1, thread < threads), each task once,
 * in any order on any thread, and returns when all are done. A task neither throws nor calls
 * parallel. */
typedef struct unetd_gang {
  uint32_t struct_size;
  uint32_t threads;
  void* self;
  void (*parallel)(void* self, uint32_t tasks, unetd_task fn, void* context);
} unetd_gang;

typedef struct unetd_exec {
  uint32_t struct_size;
  uint32_t rows;
  uint8_t* const* spaces[UNETD_SPACE_COUNT]; /* spaces[s][row] */
  const uint32_t* group_first;               /* per row: the first row of its request */
  const uint32_t* group_size;                /* per row: rows of its request */
  const unetd_gang* gang;                    /* host domain */
  void* stream;                              /* device domains: the native stream */
  uint8_t* workspace;                        /* 64-byte aligned, unetd_prepared.workspace_bytes */
  uint8_t* thread_workspace; /* thread t: thread_workspace + t * thread_workspace_stride */
  uint64_t thread_workspace_stride;
  const volatile uint32_t* cancel; /* nonzero: the result is no longer wanted */
} unetd_exec;

typedef struct unetd_prepared {
  void* handle;
  uint64_t workspace_bytes;        /* shared by the whole run, whatever the rows */
  uint64_t thread_workspace_bytes; /* for each thread of the gang */
  uint32_t max_threads;            /* more than these would idle; 0: no limit */
  char description[192];           /* which kernel serves it, for people */
} unetd_prepared;

/* ---- the backend
 * ------------------------------------------------------------------------------------------ */

typedef struct unetd_host {
  uint32_t struct_size;
  uint32_t reserved;
  void (*log)(int32_t level, const char* text); /* 0 debug, 1 info, 2 warning, 3 error */
} unetd_host;

typedef struct unetd_option {
  const char* key;
  const char* value; /* a string's text, or the JSON text of any other value */
} unetd_option;

typedef struct unetd_backend_info {
  uint32_t struct_size;
  uint32_t owns_domain; /* 1: has allocate, free and copy; 0: serves operators in a domain that
                           another owns */
  uint32_t
      threads; /* host domain: threads wanted for the gang; 0: as many as the machine has cores */
  uint32_t batch_invariant; /* 1: promises the same bits for a row whatever runs beside it */
  char domain[32];          /* "host", "cuda", ... */
  char device[128];         /* the CPU or device, with the features in use, for people */
} unetd_backend_info;

enum { UNETD_COPY_TO_DOMAIN = 1, UNETD_COPY_FROM_DOMAIN = 2, UNETD_COPY_WITHIN = 3 };

typedef struct unetd_backend {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  const char* name;
  const char* version;

  /* All options must be known: an unknown key or a bad value is UNETD_INVALID, naming the key. */
  int32_t (*open)(const unetd_host* host, const unetd_option* options, uint32_t option_count,
                  void** state, unetd_error* error);
  void (*close)(void* state);
  int32_t (*describe)(void* state, unetd_backend_info* info, unetd_error* error);

  /* Domain: required if owns_domain. Addresses are 64-byte aligned at least. */
  int32_t (*allocate)(void* state, uint64_t bytes, void** address, unetd_error* error);
  void (*free)(void* state, void* address, uint64_t bytes);
  int32_t (*copy)(void* state, void* dst, const void* src, uint64_t bytes, int32_t direction,
                  void* stream, unetd_error* error);
  /* Optional (NULL): record what a section runs and replay it. */
  int32_t (*begin_capture)(void* state, void* stream, unetd_error* error);
  int32_t (*end_capture)(void* state, void* stream, void** captured, unetd_error* error);
  int32_t (*replay)(void* state, void* captured, void* stream, unetd_error* error);
  void (*release_capture)(void* state, void* captured);

  /* Operators. supports: UNETD_OK, or UNETD_UNSUPPORTED and the reason. */
  int32_t (*supports)(void* state, const unetd_op_desc* desc, unetd_error* why_not);
  /* Only for descriptors that are supported and for weights that they have. `pack` writes
   * recipe->bytes. */
  int32_t (*pack_recipe)(void* state, const unetd_op_desc* desc, uint32_t weight,
                         unetd_recipe* recipe, unetd_error* error);
  int32_t (*pack)(void* state, const unetd_op_desc* desc, uint32_t weight,
                  const unetd_recipe* recipe, const unetd_weight* source, const unetd_gang* gang,
                  void* packed, unetd_error* error);
  int32_t (*prepare)(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                     unetd_error* error);
  int32_t (*run)(void* state, const void* handle, const unetd_exec* exec, const unetd_args* args,
                 unetd_error* error);
  void (*release)(void* state, void* handle);
} unetd_backend;

typedef const unetd_backend* (*unetd_backend_entry_fn)(void);

#ifdef __cplusplus
}
#endif

#endif /* UNETD_BACKEND_H_ */
