import { sized } from '../../src/format/byte-reader.ts'
import { parsePublic, type TpmPublic } from '../../src/format/tpm-public.ts'

/** Public areas of keys that no TPM has: their numbers may be anything. Other numbers are in hex. */

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

export function rsaPublicArea(modulus: Buffer, exponent = '00000000', bits = '0800'): TpmPublic {
  const head = hex(`0001 000b 00050472 0000 0010 0014 000b ${bits} ${exponent}`)
  return parsePublic(Buffer.concat([head, sized(modulus)]))
}

export function eccPublicArea(x: Buffer, y: Buffer, curve = '0003'): TpmPublic {
  const head = hex(`0023 000b 00050472 0000 0010 0018 000b ${curve} 0010`)
  return parsePublic(Buffer.concat([head, sized(x), sized(y)]))
}

export function keyedHashPublicArea(): TpmPublic {
  return parsePublic(
    Buffer.concat([hex('0008 000b 00000472 0000 0010'), sized(Buffer.alloc(32, 7))]),
  )
}
