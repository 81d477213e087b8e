/**
 * Compares the declarations of esys-prototypes.ts with a C header of tpm2-tss.
 *
 *   node tools/check-prototypes.ts /usr/include/tss2/tss2_esys.h
 */
import { readFileSync } from 'node:fs'
import { ESYS_PARAMETERS } from '../src/esys-prototypes.ts'

/** The scalar types of ESAPI parameters (tss2_tpm2_types.h, tss2_esys.h). Others are structures. */
const SCALARS: Readonly<Record<string, string>> = {
  ESYS_TR: 'uint32_t',
  UINT32: 'uint32_t',
  INT32: 'int32_t',
  UINT16: 'uint16_t',
  TPM2_CAP: 'uint32_t',
  TPM2_HANDLE: 'uint32_t',
  TPM2_SE: 'uint8_t',
  TPMI_ALG_HASH: 'uint16_t',
  TPMI_RH_HIERARCHY: 'uint32_t',
  TPMI_YES_NO: 'uint8_t',
  TPMA_SESSION: 'uint8_t',
}

/** `const TPM2B_DATA *x` to `const void *x`, `TPM2B_DATA **x` to `_Out_ void **x`, `ESYS_TR *x` to `_Out_ uint32_t *x`. */
function ours(parameter: string): string {
  const [, type = '', stars = '', name = ''] =
    /^(\w+) ?(\**) ?(\w+)$/.exec(
      parameter.replaceAll('const', '').replaceAll(/\s+/g, ' ').trim(),
    ) ?? []
  const scalar = SCALARS[type]
  if (scalar !== undefined) return stars === '' ? `${scalar} ${name}` : `_Out_ ${scalar} *${name}`
  return stars === '**' ? `_Out_ void **${name}` : `const void *${name}`
}

const [path = '/usr/include/tss2/tss2_esys.h'] = process.argv.slice(2)
const header = readFileSync(path, 'utf8')
for (const [name, declared] of Object.entries(ESYS_PARAMETERS)) {
  const found = new RegExp(`TSS2_RC\\s+${name}\\(([^)]*)\\);`).exec(header)?.[1]
  const [, ...parameters] = (found ?? '').split(',').map(ours)
  if (parameters.join(', ') === declared) continue
  process.stdout.write(`${name}\n  header   ${parameters.join(', ')}\n  declared ${declared}\n`)
  process.exitCode = 1
}
