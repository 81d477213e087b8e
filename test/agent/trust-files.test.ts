import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readAkCertificates, readTrust } from '../../src/agent/trust-files.ts'
import { certificatesIn } from '../../src/certificates/certificate.ts'
import { parseConfig } from '../../src/config.ts'
import { ALIYUN_EKMF_CERTIFICATE } from '../../src/verify/aliyun.ts'
import { scratchDirectory } from '../harness/scratch.ts'

let directory: AsyncDisposable & { readonly path: string }
const at = (name: string) => join(directory.path, name)
const configOf = (text: string) => parseConfig([{ file: 'metabind.toml', text }])

beforeAll(async () => {
  directory = await scratchDirectory()
  mkdirSync(at('long'))
  writeFileSync(at('long/anchor.der'), '')
  truncateSync(at('long/anchor.der'), 64 * 1024 * 1024)
  mkdirSync(at('broken'))
  writeFileSync(at('broken/a.pem'), ALIYUN_EKMF_CERTIFICATE)
  writeFileSync(at('broken/b.pem'), 'no certificate')
  writeFileSync(at('broken/c.pem'), ALIYUN_EKMF_CERTIFICATE)
  mkdirSync(at('good'))
  // As Windows writes them.
  writeFileSync(at('good/ANCHOR.PEM'), ALIYUN_EKMF_CERTIFICATE)
  writeFileSync(at('good/readme.txt'), 'no certificate')
})
afterAll(() => directory[Symbol.asyncDispose]())

test('the certificates of a folder are read, and nothing else in it', () => {
  // The dialect has no anchors of its own.
  const { ek } = readTrust(configOf(`source.dialect = "ec2"\ntpm.ek_anchors = "${at('good')}"`))
  const read = [...ek.pool.values()].flat().map(({ der }) => der.toString('hex'))
  expect(read).toEqual(
    certificatesIn(Buffer.from(ALIYUN_EKMF_CERTIFICATE)).map(({ der }) => der.toString('hex')),
  )
})

describe('a file that is longer than certificates are is FILE_UNUSABLE', () => {
  const unusable = expect.objectContaining({ code: 'FILE_UNUSABLE' })

  test.each(['tpm.ek_anchors', 'tpm.ak_anchors'])('in %s', (key) => {
    expect(() => readTrust(configOf(`${key} = "${at('long')}"`))).toThrow(unusable)
  })

  test('as source.identity_certificate', () => {
    const config = configOf(`source.identity_certificate = "${at('long/anchor.der')}"`)
    expect(() => readTrust(config)).toThrow(unusable)
  })

  test('as tpm.ak_certificate', () => {
    const { tpm } = configOf(`tpm.ak_certificate = "${at('long/anchor.der')}"`)
    expect(() => readAkCertificates(tpm)).toThrow(unusable)
  })
})

describe('a file that is no certificate is named, as there may be hundreds beside it', () => {
  test.each(['tpm.ek_anchors', 'tpm.ak_anchors'])('in %s', (key) => {
    expect(() => readTrust(configOf(`${key} = "${at('broken')}"`))).toThrow(
      expect.objectContaining({
        code: 'VERIFY_ANCHOR',
        detail: expect.stringContaining(at('broken/b.pem')),
      }),
    )
  })

  test('as source.identity_certificate', () => {
    const config = configOf(`source.identity_certificate = "${at('broken/b.pem')}"`)
    expect(() => readTrust(config)).toThrow(
      expect.objectContaining({
        code: 'VERIFY_ANCHOR',
        detail: expect.stringContaining(at('broken/b.pem')),
      }),
    )
  })
})
