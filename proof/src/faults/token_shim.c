/* A PKCS#11 module that stands before another one and can make its signatures slow, or hang those of the server's TLS key.
 * It counts logins. Built and used by tgp-proof alone; steered through a file that both map (see shim.rs).
 *
 * TGP_SHIM_MODULE  the real module      TGP_SHIM_CONTROL  the file: three 64-bit numbers
 *   [0] microseconds that each signature takes longer   [1] non-zero: TLS signatures wait   [2] logins so far, kept here
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef struct { CK_ULONG type; void *value; CK_ULONG length; } CK_ATTRIBUTE;
typedef struct { unsigned char major, minor; void *f[68]; } CK_FUNCTION_LIST; /* PKCS#11 2.40, in the standard's order */
enum { LOGIN = 18, GET_ATTRIBUTE_VALUE = 24, SIGN_INIT = 42, SIGN = 43 };
enum { CKR_GENERAL_ERROR = 5, CKA_LABEL = 3 };

static CK_FUNCTION_LIST *real, ours;
static volatile unsigned long *control;
static __thread int tls;

static CK_RV sign_init(CK_ULONG session, void *mechanism, CK_ULONG key) {
  char label[64] = {0};
  CK_ATTRIBUTE attribute = {CKA_LABEL, label, sizeof label - 1};
  CK_RV (*get)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG) = real->f[GET_ATTRIBUTE_VALUE];
  tls = get(session, key, &attribute, 1) == 0 && strncmp(label, "server-tls", 10) == 0;
  CK_RV (*init)(CK_ULONG, void *, CK_ULONG) = real->f[SIGN_INIT];
  return init(session, mechanism, key);
}

static CK_RV sign(CK_ULONG session, void *data, CK_ULONG length, void *out, CK_ULONG *out_length) {
  if (out) { /* not the call that asks for the length */
    if (control[0]) usleep(control[0]);
    while (tls && control[1]) usleep(1000);
  }
  CK_RV (*f)(CK_ULONG, void *, CK_ULONG, void *, CK_ULONG *) = real->f[SIGN];
  return f(session, data, length, out, out_length);
}

static CK_RV login(CK_ULONG session, CK_ULONG user, void *pin, CK_ULONG length) {
  __sync_fetch_and_add(&control[2], 1);
  CK_RV (*f)(CK_ULONG, CK_ULONG, void *, CK_ULONG) = real->f[LOGIN];
  return f(session, user, pin, length);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
  if (!real) {
    const char *module = getenv("TGP_SHIM_MODULE"), *file = getenv("TGP_SHIM_CONTROL");
    void *library = module ? dlopen(module, RTLD_NOW) : 0;
    int fd = file ? open(file, O_RDWR) : -1;
    CK_RV (*get)(CK_FUNCTION_LIST **) = library ? dlsym(library, "C_GetFunctionList") : 0;
    void *map = fd < 0 ? MAP_FAILED : mmap(0, 24, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!get || map == MAP_FAILED || get(&real)) return CKR_GENERAL_ERROR;
    control = map;
    ours = *real;
    ours.f[LOGIN] = login;
    ours.f[SIGN_INIT] = sign_init;
    ours.f[SIGN] = sign;
  }
  *list = &ours;
  return 0;
}
