//! SQL requests that belong together: held like every other call, with a permit where pools count them, their intent
//! before they change anything, and noted with what they moved.

use std::sync::atomic::Ordering;

use tidegate_core::pace::{Draws, Ended, Shape, Spent, UnknownPool};
use tidegate_core::plugin::{
    Answer, Fault, FaultKind, Operation, Request, Response, SqlRequest, SqlResponse,
};

use crate::call::Call;
use crate::gateway::{Gateway, fresh};
use crate::permits::Permit;
use crate::sql::{Access, Answers, Sql};

impl Gateway {
    pub(crate) async fn sql(
        &self,
        call: &Call,
        access: Access,
        run: Vec<Request>,
    ) -> Vec<Result<Response, Fault>> {
        let count = run.len();
        match self.transact(call, access, run).await {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| answer.map(|response| fresh(Answer::Sql(response))))
                .collect(),
            Err(fault) => vec![Err(fault); count],
        }
    }

    /// Fails as a whole when the database was not asked.
    async fn transact(
        &self,
        call: &Call,
        access: Access,
        run: Vec<Request>,
    ) -> Result<Answers, Fault> {
        let database = self.database().ok_or_else(|| {
            Fault::new(
                FaultKind::Config,
                "sql-not-offered",
                "the endpoint's main origin is no database",
            )
        })?;
        let draws = self.sql_draws(&run).map_err(|unknown| {
            let message = unknown.to_string();
            Fault::new(FaultKind::Refused, "pool-unknown", message)
        })?;
        let permit = self.let_go(call, draws).await?;
        let rows: Vec<u64> = run.iter().flat_map(|run| run.rows.clone()).collect();
        let mut spent = Spent {
            calls: 1,
            rows: rows.len() as u64,
            ..Spent::default()
        };
        if access == Access::Write
            && let Err(fault) = self.intend(call, rows).await
        {
            permit.settle(Ended::Unsent);
            return Err(fault);
        }
        let statements = statements(run);
        let counts = self.counts();
        counts
            .statements
            .fetch_add(statements.len() as u64, Ordering::Relaxed);
        spent.bytes = statements.iter().map(weight).sum();
        let answers = database.execute(access, statements).await;
        let moved = |response: &SqlResponse| response.rows.bytes();
        spent.bytes += answers.iter().flatten().map(moved).sum::<u64>();
        self.account().note(call, permit.drawn(), spent);
        permit.settle(Ended::Answered(Vec::new()));
        Ok(answers)
    }

    /// Waits while somebody holds the endpoint, and for the pools.
    async fn let_go(&self, call: &Call, draws: Draws) -> Result<Permit<'_>, Fault> {
        let now_ms = self.clock().now().mono_ms;
        let deadline_ms = now_ms.saturating_add(self.limits().permit_wait_ms_max);
        let permits = &self.roster().first().permits;
        loop {
            let free = self.gate().free(deadline_ms).await;
            free.map_err(|wait| self.held_back(&wait))?;
            let permit = self.permit(permits, call, draws.clone()).await?;
            // It may have been held while the permit was waited for.
            if self.gate().held().is_none() {
                return Ok(permit);
            }
            permit.settle(Ended::Unsent);
        }
    }

    /// A transaction draws as one request.
    fn sql_draws(&self, run: &[Request]) -> Result<Draws, UnknownPool> {
        let shape = Shape {
            method: None,
            path: "",
            rows: run.iter().map(|request| request.rows.len() as u32).sum(),
        };
        let named: Vec<_> = run
            .iter()
            .flat_map(|request| request.costs.clone())
            .collect();
        self.roster().first().permits.draws(&shape, &named)
    }
}

fn weight(statement: &SqlRequest) -> u64 {
    statement.statement.len() as u64 + statement.parameters.bytes()
}

fn statements(run: Vec<Request>) -> Vec<SqlRequest> {
    run.into_iter()
        .filter_map(|request| match request.operation {
            Operation::Sql(sql) => Some(sql),
            Operation::Http(_) | Operation::Feed(_) => None,
        })
        .collect()
}
