/**
 * A verifier: each line on standard input is evidence and what is asked of it, as JSON with bytes in
 * base64. It prints the instance id, or the code of the refusal.
 */
import { createInterface } from 'node:readline'
import { type Verified, VerifyError, type VerifyOptions, verifyEvidence } from 'metabind/verify'

function revived(key: string, value: unknown): unknown {
  if (key === 'now') return new Date(String(value))
  const isBytes = typeof value === 'object' && value !== null && 'base64' in value
  return isBytes ? Buffer.from(String(value.base64), 'base64') : value
}

function judged(line: string): string {
  const { evidence, options }: { evidence: Uint8Array; options: VerifyOptions } = JSON.parse(
    line,
    revived,
  )
  try {
    const verified: Verified = verifyEvidence(evidence, options)
    return verified.instanceId
  } catch (error) {
    if (error instanceof VerifyError) return error.code
    throw error
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${judged(line)}\n`)
}
