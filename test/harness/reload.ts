import { writeFile } from 'node:fs/promises'
import type { AgentProcess, LogRecord } from './agent.ts'

/** Puts a policy in place and tells the agent. @returns what it says of it: that it reloaded, or not */
export async function reloadPolicy(
  agent: AgentProcess,
  file: string,
  text: string,
): Promise<LogRecord> {
  await writeFile(file, text)
  const before = agent.records.length
  agent.child.kill('SIGHUP')
  return agent.until(
    (record) =>
      agent.records.indexOf(record) >= before &&
      /^(configuration reloaded|configuration not reloaded)/.test(record.msg ?? ''),
  )
}
