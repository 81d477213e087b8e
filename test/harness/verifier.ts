import { chown } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, onTestFinished } from 'vitest'
import { metabindAs } from './attack.ts'
import { type Finished, scratch } from './metabind.ts'

/** Whoever verifies evidence elsewhere, with the packaged command line and no agent. */
export interface Verifier {
  /** Where its files are, and where those who mean harm leave theirs. */
  readonly at: (name: string) => string
  /** Runs `metabind verify`, with ten seconds of processor time. */
  verify(...args: readonly string[]): Promise<Finished>
  /** What genuine evidence is verified against: the nonce, the maker and the cloud. */
  readonly asked: readonly string[]
}

export const NONCE = 'ab'.repeat(32)
const VERIFIER = 61_106

/** A verifier, and genuine evidence of the shared agent in its file `evidence`. */
export async function startVerifier(): Promise<Verifier> {
  const { directory, metadataSocket, adminSocket } = inject('target')
  const folder = await scratch()
  onTestFinished(() => folder[Symbol.asyncDispose]())
  await chown(folder.path, VERIFIER, VERIFIER)
  const at = (name: string) => join(folder.path, name)
  const sockets = { metadataSocket, adminSocket }
  const args = ['evidence', '--nonce', NONCE, '--out', at('evidence')]
  expect(await metabindAs(0, args, sockets)).toMatchObject({ code: 0, stderr: '' })
  const trusted = ['--anchors', join(directory, 'anchors')]
  const document = ['--identity-certificate', join(directory, 'cloud.pem'), '--demand-document']
  return {
    at,
    verify: (...more) =>
      metabindAs(VERIFIER, ['verify', ...more], undefined, ['prlimit', '--cpu=10']),
    asked: ['--nonce', NONCE, ...trusted, ...document],
  }
}
