import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { verificationCase } from '../../bench/verification-case.ts'

test('a thousand verifications leave nothing in the heap', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'verifications-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const file = join(directory, 'case.json')
  await writeFile(file, JSON.stringify(verificationCase()))
  const library = new URL('../../src/verify/index.ts', import.meta.url).href
  const args = ['bench/verifications.ts', library, file, '1000']
  const { stdout } = await promisify(execFile)(process.execPath, args)
  // One certificate of each, parsed, would be several megabytes.
  expect(JSON.parse(stdout).grownKib).toBeLessThan(1024)
})
